//! Canonical web addresses and the expressions that they are matched by.
//!
//! A canonical address is `host/path[?query]` in ASCII, without scheme, user info, port and fragment. Every expression
//! that matching tries (a host suffix with a path prefix, a host, a domain) is a contiguous slice of that text, so
//! trying thirty of them copies nothing:
//!
//! ```text
//! a.b.example/1/2.html?x=1      the text
//!   b.example/1/                one of its expressions
//!   b.example                   one of its domains
//! ```
//!
//! The rules are those of Safe Browsing's *URLs and hashing* page: at most five hosts and six paths.

use std::{fmt, net::Ipv4Addr};

use super::{
    canonical::{self, WebAddressError},
    find::find,
};

/// The set of addresses that an expression matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Scope {
    /// This host and path; with the query if the expression has one, else with any query.
    Exact = 1,
    /// This host, any path.
    Host = 2,
    /// This name and all its subdomains, any path.
    Domain = 3,
    /// Host suffix and path prefix, as in Safe Browsing.
    Expression = 4,
}

impl Scope {
    /// Every scope, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Host, Self::Domain, Self::Expression];

    /// Returns the scope with a number of a frame or snapshot.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Returns the name of the scope in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Host => "host",
            Self::Domain => "domain",
            Self::Expression => "expression",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of scopes, such as those that have records: other scopes need not be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet(u8);

impl ScopeSet {
    /// All scopes.
    pub const ALL: Self = Self(0b1_1110);

    /// Returns the set with one more scope.
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u8)
    }

    /// Returns whether the scope is in the set.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & 1 << scope as u8 != 0
    }

    /// Returns the set as bits: bit n for the scope of number n.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Returns the set with these bits; `None` when a bit has no scope.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits & !Self::ALL.0 == 0).then_some(Self(bits))
    }
}

/// A web address in canonical form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebAddress {
    text: Box<str>,
}

impl WebAddress {
    /// Parses and canonicalises an address as Safe Browsing does (not as browsers do: see the rules in
    /// [`canonical_url`](super::canonical_url)). A missing scheme means http.
    ///
    /// ```
    /// # use ksn::WebAddress;
    /// let address = WebAddress::parse("HTTP://user@Evil.Example:8080/a/../b?x#y").unwrap();
    /// assert_eq!(address.as_str(), "evil.example/b?x");
    /// ```
    pub fn parse(text: &str) -> Result<Self, WebAddressError> {
        canonical::canonicalise(text.as_bytes()).map(|text| Self { text: text.into() })
    }

    /// Returns the canonical text: `host/path[?query]`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the parts of the address.
    pub fn parts(&self) -> AddressParts<'_> {
        AddressParts::of_canonical(self.text.as_bytes()).expect("a canonical address has a host and a path")
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "url:{self}")
    }
}

/// A borrowed canonical address, split into host, path and query.
///
/// Clients canonicalise addresses, servers check that they did: an address that is not canonical would match less than
/// it should, and would be reported as unknown.
#[derive(Clone, Copy, Debug)]
pub struct AddressParts<'a> {
    text: &'a [u8],
    /// The offset in bytes at which the host ends and the path starts.
    path_start: usize,
    /// The offset in bytes at which the path ends: that of `?`, or the length of the text.
    path_end: usize,
    /// The host, if it is an IPv4 address.
    ipv4: Option<Ipv4Addr>,
}

impl<'a> AddressParts<'a> {
    /// Splits a canonical address into host, path and query. Returns `None` when the text is not canonical: exactly if
    /// [`WebAddress::parse`] would change it or fail.
    ///
    /// ```
    /// # use ksn::key::AddressParts;
    /// assert!(AddressParts::split(b"evil.example/a?b").is_some());
    /// assert!(AddressParts::split(b"Evil.example/a/../b").is_none());
    /// ```
    #[inline]
    pub fn split(text: &'a [u8]) -> Option<Self> {
        let parts = Self::of_canonical(text)?;
        canonical::is_canonical(text, parts.path_start, parts.path_end, parts.ipv4.is_some()).then_some(parts)
    }

    /// Splits an address that is known to be canonical. Returns `None` when it has no path.
    #[inline]
    fn of_canonical(text: &'a [u8]) -> Option<Self> {
        let path_start = find(text, b'/')?;
        let path_end = find(&text[path_start..], b'?').map_or(text.len(), |at| path_start + at);
        Some(Self { text, path_start, path_end, ipv4: dotted_quad(&text[..path_start]) })
    }

    /// Returns the host.
    pub fn host(&self) -> &'a [u8] {
        &self.text[..self.path_start]
    }

    /// Returns the path, with its leading slash.
    pub fn path(&self) -> &'a [u8] {
        &self.text[self.path_start..self.path_end]
    }

    /// Returns the query, without its question mark.
    pub fn query(&self) -> Option<&'a [u8]> {
        self.text.get(self.path_end + 1..)
    }

    /// Returns the host, if it is an IPv4 address.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.ipv4
    }

    /// Returns whether the host is an IP address literal of either family, which has no parent domains.
    pub fn is_literal(&self) -> bool {
        self.ipv4.is_some() || self.text[0] == b'['
    }

    /// Calls `try_one` with every expression that this address can match in the given scopes, the most specific host
    /// first.
    ///
    /// These are at most 2 + 1 + 30 expressions, and one domain for each label of the host, of which there are at most
    /// 127.
    #[inline]
    pub fn for_each_expression(&self, scopes: ScopeSet, mut try_one: impl FnMut(Scope, &'a [u8])) {
        if scopes.contains(Scope::Exact) {
            if self.path_end < self.text.len() {
                try_one(Scope::Exact, self.text);
            }
            try_one(Scope::Exact, &self.text[..self.path_end]);
        }
        if scopes.contains(Scope::Host) {
            try_one(Scope::Host, self.host());
        }
        if scopes.contains(Scope::Domain) {
            try_one(Scope::Domain, self.host());
            if !self.is_literal() {
                let host = self.host();
                for start in (1..host.len()).filter(|&at| host[at - 1] == b'.') {
                    try_one(Scope::Domain, &host[start..]);
                }
            }
        }
        if scopes.contains(Scope::Expression) {
            let (host_starts, hosts) = self.host_starts();
            let (path_ends, paths) = self.path_ends();
            for &start in &host_starts[..hosts] {
                for &end in &path_ends[..paths] {
                    try_one(Scope::Expression, &self.text[start..end]);
                }
            }
        }
    }

    /// Calls `try_one` once with each text that this address can match, and the scopes in which that text is tried.
    /// Used for lookups by the text alone, where the scope of a record is part of the answer.
    ///
    /// A text is a domain or includes the end of the host, so no two of them at different offsets are equal. They are
    /// at most 127 domains, the first of which is the host, and 30 expressions, of which the first two are the exact
    /// ones.
    pub fn for_each_text(&self, mut try_one: impl FnMut(ScopeSet, &'a [u8])) {
        let scopes = ScopeSet::default().with(Scope::Domain).with(Scope::Expression);
        self.for_each_expression(scopes, |scope, text| {
            let own = ScopeSet::default().with(scope);
            let is_exact = text == self.text || *text == self.text[..self.path_end];
            try_one(
                match scope {
                    Scope::Domain if text == self.host() => own.with(Scope::Host),
                    Scope::Expression if is_exact => own.with(Scope::Exact),
                    _ => own,
                },
                text,
            );
        });
    }

    /// Returns the offsets at which the hosts to try start: the exact host, then up to four made of its last five
    /// labels, never the last label alone.
    fn host_starts(&self) -> ([usize; 5], usize) {
        let mut starts = [0; 5];
        let mut count = 1;
        if self.is_literal() {
            return (starts, count);
        }
        let host = self.host();
        // Offsets of the last five labels, the last label first.
        let mut labels = [0; 5];
        let mut found = 0;
        for at in (0..host.len()).rev() {
            if found < 5 && (at == 0 || host[at - 1] == b'.') {
                labels[found] = at;
                found += 1;
            }
        }
        for &start in labels[..found].iter().skip(1).rev() {
            if start > 0 && count < 5 {
                starts[count] = start;
                count += 1;
            }
        }
        (starts, count)
    }

    /// Returns the offsets at which the paths to try end: with query, without, `/`, then up to three deeper
    /// directories.
    fn path_ends(&self) -> ([usize; 6], usize) {
        let mut ends = [0; 6];
        let mut count = 0;
        let mut push = |end: usize| {
            if !ends[..count].contains(&end) {
                ends[count] = end;
                count += 1;
            }
        };
        push(self.text.len());
        push(self.path_end);
        let directories = (self.path_start..self.path_end).filter(|&at| self.text[at] == b'/').map(|at| at + 1).take(4);
        directories.for_each(&mut push);
        (ends, count)
    }
}

/// Parses a dotted quad in canonical form: four decimal numbers up to 255 without leading zeros.
fn dotted_quad(host: &[u8]) -> Option<Ipv4Addr> {
    if host.len() > 15 || !host.last()?.is_ascii_digit() || !host.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(host).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expressions(text: &str, scope: Scope) -> Vec<String> {
        let mut found = Vec::new();
        AddressParts::split(text.as_bytes())
            .unwrap()
            .for_each_expression(ScopeSet::default().with(scope), |_, e| found.push(String::from_utf8_lossy(e).into()));
        found
    }

    #[test]
    fn expressions_of_the_urls_and_hashing_page() {
        assert_eq!(
            expressions("a.b.c/1/2.html?param=1", Scope::Expression),
            [
                "a.b.c/1/2.html?param=1",
                "a.b.c/1/2.html",
                "a.b.c/",
                "a.b.c/1/",
                "b.c/1/2.html?param=1",
                "b.c/1/2.html",
                "b.c/",
                "b.c/1/",
            ]
        );
        assert_eq!(
            expressions("a.b.c.d.e.f.g/1.html", Scope::Expression),
            [
                "a.b.c.d.e.f.g/1.html",
                "a.b.c.d.e.f.g/",
                "c.d.e.f.g/1.html",
                "c.d.e.f.g/",
                "d.e.f.g/1.html",
                "d.e.f.g/",
                "e.f.g/1.html",
                "e.f.g/",
                "f.g/1.html",
                "f.g/",
            ]
        );
        assert_eq!(expressions("1.2.3.4/1/", Scope::Expression), ["1.2.3.4/1/", "1.2.3.4/"]);
    }

    #[test]
    fn at_most_thirty_expressions() {
        let found = expressions("a.b.c.d.e.f.g.h/1/2/3/4/5/6.html?q", Scope::Expression);
        assert_eq!(found.len(), 30);
        assert!(found.contains(&"g.h/1/2/3/".into()) && !found.contains(&"g.h/1/2/3/4/".into()));
    }

    #[test]
    fn domains_are_all_suffixes_and_literals_have_none() {
        assert_eq!(expressions("a.b.c/x", Scope::Domain), ["a.b.c", "b.c", "c"]);
        assert_eq!(expressions("1.2.3.4/x", Scope::Domain), ["1.2.3.4"]);
        assert_eq!(expressions("[::1]/x", Scope::Domain), ["[::1]"]);
        assert_eq!(expressions("a.b/x?y", Scope::Exact), ["a.b/x?y", "a.b/x"]);
        assert_eq!(expressions("a.b/x?y", Scope::Host), ["a.b"]);
    }

    #[test]
    fn each_text_is_tried_once_with_all_its_scopes() {
        for address in ["a.b.c.d.e.f.g.h/1/2/3/4/5/6.html?q", "a.b/?q", "a/", "1.2.3.4/x/?a=b", "[::1]/", "a.a.a/a/a"] {
            let parts = AddressParts::split(address.as_bytes()).unwrap();
            let (mut texts, mut found, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            parts.for_each_text(|scopes, text| {
                texts.push(text);
                found.extend(Scope::ALL.into_iter().filter(|&scope| scopes.contains(scope)).map(|scope| (scope, text)));
            });
            parts.for_each_expression(ScopeSet::ALL, |scope, text| expected.push((scope, text)));
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{address}");
            let count = texts.len();
            texts.sort();
            texts.dedup();
            assert_eq!(texts.len(), count, "duplicate text of {address}");
        }
    }

    #[test]
    fn parts() {
        let parts = AddressParts::split(b"192.0.2.7/a?b?c").unwrap();
        assert_eq!(parts.ipv4(), Some(Ipv4Addr::new(192, 0, 2, 7)));
        assert_eq!((parts.path(), parts.query()), (&b"/a"[..], Some(&b"b?c"[..])));
        assert_eq!(AddressParts::split(b"a/").unwrap().query(), None);
        assert!(AddressParts::split(b"/a").is_none());
        assert!(AddressParts::split(b"a").is_none());
        assert!(AddressParts::split(b"").is_none());
        assert_eq!(AddressParts::split(b"1.2.3.4a/").unwrap().ipv4(), None);
        assert!(AddressParts::split(b"1.2.3.04/").is_none());
    }
}
