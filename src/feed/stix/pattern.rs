//! A parser for STIX patterns that list values.
//!
//! A pattern is a condition over observations, a list of indicators is a disjunction of equalities. The whole pattern
//! is parsed, and each operand of `OR` becomes a [`Branch`]; anything that narrows a branch (`AND`, `NOT`, another
//! operator, an order in time, a qualifier) makes it a branch that must not become a record, with the reason: one
//! operand of a conjunction is not an indicator.
//!
//! ```text
//! observations  = or-observations *( FOLLOWEDBY or-observations )
//! observation   = "[" comparisons "]" / "(" observations ")", then qualifiers: WITHIN, REPEATS, START, STOP
//! comparisons   = and-comparisons *( OR and-comparisons )
//! comparison    = path [NOT] operator literal / EXISTS path / "(" comparisons ")"
//! path          = object ":" component *( "." component / "[" index "]" )
//! ```
//!
//! STIX 2.1, section 9: <https://docs.oasis-open.org/cti/stix/v2.1/os/stix-v2.1-os.html#_e8slinrhxcc9>. As in the OASIS
//! grammar keywords are case-insensitive, `==` and `<>` are operators, and comments are white space; double-quoted path
//! components and literals are accepted because real patterns have them.

use std::{borrow::Cow, rc::Rc};

/// Maximum depth of nested parentheses. Real patterns have two.
const DEPTH_MAX: u32 = 64;

/// Maximum number of components of a path. Real paths have five.
const COMPONENTS_MAX: usize = 32;

/// Maximum length of a pattern in bytes. A pattern of ten thousand hashes takes a megabyte.
pub(super) const PATTERN_BYTES_MAX: usize = 1 << 20;

/// One of the alternatives of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Branch<'a> {
    /// An equality, which is an indicator by itself.
    Comparison(Comparison<'a>),
    /// A narrower condition, with the reason.
    Withheld(&'static str),
}

/// A comparison `path = literal` or `path ISSUBSET literal`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison<'a> {
    /// The path, shared by the values of one set.
    pub(super) path: Rc<ObjectPath<'a>>,
    pub(super) operator: Operator,
    pub(super) value: Literal<'a>,
}

/// The path of a compared property: `file:hashes.'SHA-256'`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ObjectPath<'a> {
    pub(super) object: &'a str,
    /// The components, with `[]` for any index.
    pub(super) components: Vec<Cow<'a, str>>,
}

/// The operators that list values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Subset,
}

/// The literal that a path is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal<'a> {
    Text(Cow<'a, str>),
    /// A number, a boolean, a timestamp or bytes, none of which is listed.
    Other,
}

/// The error of parsing a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at} of the pattern")]
pub(super) struct PatternError {
    expected: &'static str,
    at: usize,
}

/// Parses a pattern into its alternatives, of which there is at least one.
pub(super) fn parse(text: &str) -> Result<Vec<Branch<'_>>, PatternError> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(PatternError { expected: "the end", at: PATTERN_BYTES_MAX });
    }
    let mut parser = Parser { lexer: Lexer { text, at: 0 }, token: Token::End, token_at: 0, depth: 0 };
    parser.advance()?;
    let branches = parser.observations()?;
    if parser.token != Token::End {
        return Err(parser.expected("OR or the end"));
    }
    Ok(branches)
}

const AND: &str = "joined by AND";
const FOLLOWED_BY: &str = "joined by FOLLOWEDBY";
const NEGATED: &str = "negated";
const LIKE: &str = "compared by LIKE";
const MATCHES: &str = "compared by MATCHES";
const ORDER: &str = "compared by an operator other than equality";
const EXISTS: &str = "tests only for existence";
const QUALIFIED: &str = "qualified in time or number";

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    token_at: usize,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn observations(&mut self) -> Result<Vec<Branch<'a>>, PatternError> {
        let mut branches = self.or_observations()?;
        while self.keyword("FOLLOWEDBY")? {
            self.or_observations()?;
            branches = vec![Branch::Withheld(FOLLOWED_BY)];
        }
        Ok(branches)
    }

    fn or_observations(&mut self) -> Result<Vec<Branch<'a>>, PatternError> {
        let mut branches = self.and_observations()?;
        while self.keyword("OR")? {
            branches.append(&mut self.and_observations()?);
        }
        Ok(branches)
    }

    fn and_observations(&mut self) -> Result<Vec<Branch<'a>>, PatternError> {
        let mut branches = self.observation()?;
        while self.keyword("AND")? {
            self.observation()?;
            branches = vec![Branch::Withheld(AND)];
        }
        Ok(branches)
    }

    fn observation(&mut self) -> Result<Vec<Branch<'a>>, PatternError> {
        let mut branches = if self.symbol(b'[')? {
            let branches = self.comparisons()?;
            self.require(b']', "`]`, AND or OR")?;
            branches
        } else if self.symbol(b'(')? {
            self.nested(Self::observations)?
        } else {
            return Err(self.expected("`[`"));
        };
        while self.qualifier()? {
            branches = vec![Branch::Withheld(QUALIFIED)];
        }
        Ok(branches)
    }

    fn qualifier(&mut self) -> Result<bool, PatternError> {
        let literals = if self.keyword("WITHIN")? || self.keyword("REPEATS")? {
            1
        } else if self.keyword("START")? {
            2
        } else {
            return Ok(false);
        };
        self.literal()?;
        let more = if literals == 1 {
            self.keyword("SECONDS")? || self.keyword("TIMES")?
        } else {
            self.keyword("STOP")? && self.literal().map(|_| true)?
        };
        if more { Ok(true) } else { Err(self.expected("SECONDS, TIMES or STOP")) }
    }

    fn comparisons(&mut self) -> Result<Vec<Branch<'a>>, PatternError> {
        let mut branches = self.and_comparisons()?;
        while self.keyword("OR")? {
            branches.append(&mut self.and_comparisons()?);
        }
        Ok(branches)
    }

    fn and_comparisons(&mut self) -> Result<Vec<Branch<'a>>, PatternError> {
        let mut branches = self.comparison()?;
        while self.keyword("AND")? {
            self.comparison()?;
            branches = vec![Branch::Withheld(AND)];
        }
        Ok(branches)
    }

    fn comparison(&mut self) -> Result<Vec<Branch<'a>>, PatternError> {
        if self.symbol(b'(')? {
            return self.nested(Self::comparisons);
        }
        // The standard allows a leading NOT only before EXISTS; before a comparison its meaning is clear too.
        let mut negated = self.keyword("NOT")?;
        if self.keyword("EXISTS")? {
            self.path()?;
            return Ok(vec![Branch::Withheld(EXISTS)]);
        }
        let path = Rc::new(self.path()?);
        negated |= self.keyword("NOT")?;
        let (operator, is_set) = self.operator()?;
        let values = if is_set { self.set()? } else { vec![self.literal()?] };
        Ok(match operator {
            _ if negated => vec![Branch::Withheld(NEGATED)],
            Err(reason) => vec![Branch::Withheld(reason)],
            Ok(operator) => {
                let comparison = |value| Branch::Comparison(Comparison { path: Rc::clone(&path), operator, value });
                values.into_iter().map(comparison).collect()
            }
        })
    }

    /// Parses an operator. Returns it, or the reason to withhold the branch, and whether a set follows.
    #[allow(clippy::type_complexity)]
    fn operator(&mut self) -> Result<(Result<Operator, &'static str>, bool), PatternError> {
        let operator = match self.token {
            Token::Equal => Ok(Operator::Equal),
            Token::Unequal => Err(NEGATED),
            Token::Order => Err(ORDER),
            Token::Word(word) => match word.to_ascii_uppercase().as_str() {
                "IN" => {
                    self.advance()?;
                    return Ok((Ok(Operator::Equal), true));
                }
                "ISSUBSET" => Ok(Operator::Subset),
                "ISSUPERSET" => Err(ORDER),
                "LIKE" => Err(LIKE),
                "MATCHES" => Err(MATCHES),
                _ => return Err(self.expected("an operator")),
            },
            _ => return Err(self.expected("an operator")),
        };
        self.advance()?;
        Ok((operator, false))
    }

    fn set(&mut self) -> Result<Vec<Literal<'a>>, PatternError> {
        self.require(b'(', "`(`")?;
        let mut values = Vec::new();
        loop {
            values.push(self.literal()?);
            if !self.symbol(b',')? {
                break;
            }
        }
        self.require(b')', "`,` or `)`")?;
        Ok(values)
    }

    fn path(&mut self) -> Result<ObjectPath<'a>, PatternError> {
        let Token::Word(object) = self.token else { return Err(self.expected("an object type")) };
        self.advance()?;
        self.require(b':', "`:`")?;
        let mut components = vec![self.component()?];
        loop {
            if components.len() > COMPONENTS_MAX {
                return Err(self.expected("fewer path components"));
            }
            if self.symbol(b'.')? {
                components.push(self.component()?);
            } else if self.symbol(b'[')? {
                if !matches!(self.token, Token::Number | Token::Symbol(b'*')) {
                    return Err(self.expected("an index or `*`"));
                }
                self.advance()?;
                self.require(b']', "`]`")?;
                components.push(Cow::Borrowed("[]"));
            } else {
                return Ok(ObjectPath { object, components });
            }
        }
    }

    fn component(&mut self) -> Result<Cow<'a, str>, PatternError> {
        let component = match &self.token {
            Token::Word(word) => Cow::Borrowed(*word),
            Token::Quoted(text) => text.clone(),
            _ => return Err(self.expected("a property name")),
        };
        self.advance()?;
        Ok(component)
    }

    fn literal(&mut self) -> Result<Literal<'a>, PatternError> {
        let literal = match &self.token {
            Token::Quoted(text) => Literal::Text(text.clone()),
            Token::Number | Token::Typed => Literal::Other,
            Token::Word(word) if word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false") => {
                Literal::Other
            }
            _ => return Err(self.expected("a literal")),
        };
        self.advance()?;
        Ok(literal)
    }

    /// Parses the content of parentheses and the closing one.
    fn nested(
        &mut self,
        inner: fn(&mut Self) -> Result<Vec<Branch<'a>>, PatternError>,
    ) -> Result<Vec<Branch<'a>>, PatternError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.expected("fewer nested parentheses"));
        }
        let branches = inner(self)?;
        self.depth -= 1;
        self.require(b')', "`)`, AND or OR")?;
        Ok(branches)
    }

    fn keyword(&mut self, keyword: &str) -> Result<bool, PatternError> {
        let found = matches!(self.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn symbol(&mut self, symbol: u8) -> Result<bool, PatternError> {
        let found = self.token == Token::Symbol(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn require(&mut self, symbol: u8, expected: &'static str) -> Result<(), PatternError> {
        if self.symbol(symbol)? { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn advance(&mut self) -> Result<(), PatternError> {
        self.lexer.skip_white_space()?;
        self.token_at = self.lexer.at;
        self.token = self.lexer.token()?;
        Ok(())
    }

    fn expected(&self, expected: &'static str) -> PatternError {
        PatternError { expected, at: self.token_at }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token<'a> {
    /// A keyword, an object type or a property.
    Word(&'a str),
    Quoted(Cow<'a, str>),
    Number,
    /// `t'…'`, `h'…'` or `b'…'`.
    Typed,
    /// One of `[ ] ( ) : . , *`.
    Symbol(u8),
    Equal,
    Unequal,
    /// `<`, `<=`, `>` or `>=`.
    Order,
    End,
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_white_space(&mut self) -> Result<(), PatternError> {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start().len();
            let comment = if rest[blanks..].starts_with("//") {
                rest[blanks..].find('\n').unwrap_or(rest.len() - blanks)
            } else if rest[blanks..].starts_with("/*") {
                let end = rest[blanks..].find("*/").map(|end| end + 2);
                end.ok_or(PatternError { expected: "the end of the comment", at: self.at + blanks })?
            } else {
                0
            };
            self.at += blanks + comment;
            if comment == 0 {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token<'a>, PatternError> {
        let rest = self.rest().as_bytes();
        let start = self.at;
        let (token, length) = match rest {
            [] => (Token::End, 0),
            [b'=', b'=', ..] => (Token::Equal, 2),
            [b'=', ..] => (Token::Equal, 1),
            [b'!', b'=', ..] | [b'<', b'>', ..] => (Token::Unequal, 2),
            [b'<' | b'>', b'=', ..] => (Token::Order, 2),
            [b'<' | b'>', ..] => (Token::Order, 1),
            [symbol @ (b'[' | b']' | b'(' | b')' | b':' | b'.' | b',' | b'*'), ..] => (Token::Symbol(*symbol), 1),
            [quote @ (b'\'' | b'"'), ..] => return self.quoted(*quote).map(Token::Quoted),
            [b't' | b'h' | b'b', b'\'', ..] => {
                self.at += 1;
                return self.quoted(b'\'').map(|_| Token::Typed);
            }
            [b'0'..=b'9' | b'+' | b'-', ..] => {
                let length = rest[1..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count() + 1;
                (Token::Number, length)
            }
            [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => {
                let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
                (Token::Word(&self.text[start..start + length]), length)
            }
            _ => return Err(PatternError { expected: "a word, a literal or a bracket", at: start }),
        };
        self.at += length;
        Ok(token)
    }

    /// Parses a quoted string and unescapes `\'` and `\\`; before other characters a backslash is literal.
    fn quoted(&mut self, quote: u8) -> Result<Cow<'a, str>, PatternError> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut unescaped: Option<String> = None;
        // The start of the text that is not yet in `unescaped`.
        let mut from = start;
        let mut at = start;
        while let Some(&b) = bytes.get(at) {
            if b == quote {
                self.at = at + 1;
                let tail = &self.text[from..at];
                return Ok(match unescaped {
                    None => Cow::Borrowed(tail),
                    Some(text) => Cow::Owned(text + tail),
                });
            }
            let escapes = b == b'\\' && bytes.get(at + 1).is_some_and(|&next| next == quote || next == b'\\');
            if escapes {
                unescaped.get_or_insert_default().push_str(&self.text[from..at]);
                from = at + 1;
                at += 1;
            }
            at += 1;
        }
        Err(PatternError { expected: "the closing quote of the string", at: start - 1 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Renders every branch as `object:path=value`, `object:path<value` or `!reason`.
    fn branches(text: &str) -> Vec<String> {
        let render = |branch| match branch {
            Branch::Comparison(Comparison { path, operator, value }) => {
                let operator = if operator == Operator::Equal { "=" } else { "<" };
                let value = if let Literal::Text(text) = value { text } else { "?".into() };
                format!("{}:{}{operator}{value}", path.object, path.components.join("."))
            }
            Branch::Withheld(reason) => format!("!{reason}"),
        };
        match parse(text) {
            Ok(branches) => branches.into_iter().map(render).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn equalities_joined_by_or() {
        assert_eq!(branches("[url:value = 'http://a.example/?b=[c]']"), ["url:value=http://a.example/?b=[c]"]);
        assert_eq!(branches("[file:hashes.sha256='aa']"), ["file:hashes.sha256=aa"]);
        assert_eq!(branches(r#"[ file : hashes."SHA-256" == 'aa' ]"#), ["file:hashes.SHA-256=aa"]);
        assert_eq!(branches("[file:hashes.SHA-256 = 'aa']"), ["file:hashes.SHA-256=aa"]);
        assert_eq!(
            branches("[file:hashes.MD5='a' OR file:hashes.'SHA-1'='b'] or ([url:value='c'] OR [(url:value='d')])"),
            ["file:hashes.MD5=a", "file:hashes.SHA-1=b", "url:value=c", "url:value=d"]
        );
        assert_eq!(branches("[ipv4-addr:value ISSUBSET '192.0.2.0/24']"), ["ipv4-addr:value<192.0.2.0/24"]);
        assert_eq!(branches("[domain-name:value IN ('a', 'b')]"), ["domain-name:value=a", "domain-name:value=b"]);
        assert_eq!(
            branches("[a:b[*].c[0] = 1 /* x */ OR a:t = t'2026-01-01T00:00:00Z'] // y"),
            ["a:b.[].c.[]=?", "a:t=?"]
        );
    }

    #[test]
    fn escapes() {
        assert_eq!(branches(r"[url:value = 'a\'b\\c\d']"), [r"url:value=a'b\c\d"]);
        assert_eq!(branches(r"[url:value = 'é\\']"), [r"url:value=é\"]);
        assert_eq!(branches("[url:value = 'OR ] AND']"), ["url:value=OR ] AND"]);
    }

    #[test]
    fn narrowed_branches_are_withheld() {
        assert_eq!(branches("[a:b='1' AND a:c='2']"), ["!joined by AND"]);
        assert_eq!(branches("[a:b='1'] AND [a:c='2'] OR [a:d='3']"), ["!joined by AND", "a:d=3"]);
        assert_eq!(branches("[a:b='1' OR a:c='2' AND (a:d='3' OR a:e='4')]"), ["a:b=1", "!joined by AND"]);
        assert_eq!(branches("[a:b='1'] OR [a:c='2'] FOLLOWEDBY [a:d='3']"), ["!joined by FOLLOWEDBY"]);
        for negated in ["[a:b NOT = '1']", "[a:b != '1']", "[a:b <> '1']", "[a:b NOT IN ('1')]", "[NOT a:b = '1']"] {
            assert_eq!(branches(negated), ["!negated"], "{negated}");
        }
        assert_eq!(branches("[a:b LIKE '1%']"), ["!compared by LIKE"]);
        assert_eq!(branches("[a:b MATCHES '^1' OR a:b = '2']"), ["!compared by MATCHES", "a:b=2"]);
        assert_eq!(branches("[a:b >= 1]"), ["!compared by an operator other than equality"]);
        assert_eq!(branches("[EXISTS a:b]"), ["!tests only for existence"]);
        for qualified in [
            "[a:b='1'] REPEATS 5 TIMES",
            "([a:b='1'] OR [a:b='2']) WITHIN 300 SECONDS",
            "[a:b='1'] START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'",
        ] {
            assert_eq!(branches(qualified), ["!qualified in time or number"], "{qualified}");
        }
    }

    #[test]
    fn errors_have_the_position() {
        assert_eq!(branches(""), ["expected `[` at byte 0 of the pattern"]);
        assert_eq!(branches("[a:b = ]"), ["expected a literal at byte 7 of the pattern"]);
        assert_eq!(branches("[a:b = 'x]"), ["expected the closing quote of the string at byte 7 of the pattern"]);
        assert_eq!(branches("[a:b = 'x'] x"), ["expected OR or the end at byte 12 of the pattern"]);
        assert_eq!(branches("[ab = 'x']"), ["expected `:` at byte 4 of the pattern"]);
        for text in
            ["[a:b='1'", "[a:b='1'] OR", "a:b='1'", "[a:b[x]='1']", "[a:b IN ()]", "[a:b = 'x'] WITHIN 5", "[é]", "/*"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hostile_patterns_are_bounded() {
        for open in ["(", "NOT ", "[a:b='1' OR ("] {
            assert!(parse(&open.repeat(10_000)).is_err());
            assert!(parse(&format!("[{}", open.repeat(10_000))).is_err());
        }
        assert!(parse(&format!("{}[a:b='1']{}", "(".repeat(65), ")".repeat(65))).is_err());
        assert!(parse(&format!("{}[a:b='1']{}", "(".repeat(64), ")".repeat(64))).is_ok());
        assert!(parse(&format!("[a:b{} = '1']", ".c".repeat(COMPONENTS_MAX))).is_err());
        assert!(parse(&" ".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        let many = format!("[a:b='1'{}]", " OR a:b='1'".repeat(50_000));
        assert_eq!(parse(&many).unwrap().len(), 50_001);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in r#"[\[\]()a-c:.='"\\ *ORANDT!<>,/é0-9-]{0,40}"#) {
            let _ = parse(&text);
        }

        #[test]
        fn quoting_round_trips(text: String) {
            let quoted = format!("[a:b = '{}']", text.replace('\\', r"\\").replace('\'', r"\'"));
            let [Branch::Comparison(comparison)] = &parse(&quoted).unwrap()[..] else { panic!("{quoted}") };
            prop_assert_eq!(&comparison.value, &Literal::Text(text.into()));
        }
    }
}
