//! Prevents a lookup of web addresses by prefixes of their expressions from answering differently than one by whole
//! addresses, and a client from believing expressions that a server made up.

use super::*;
use ksn::{
    WebAddress,
    key::{Ipv4Block, Scope},
};
use sha2::{Digest as _, Sha256};

/// A deterministic generator of choices.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn host(&mut self) -> String {
        match self.below(8) {
            0 => format!("10.0.0.{}", self.below(12)),
            1 => "[2001:db8::1]".into(),
            _ => (0..1 + self.below(7)).map(|_| self.of(&["a.", "b."])).collect::<String>() + "example",
        }
    }

    fn path(&mut self) -> String {
        let directories: String = (0..self.below(5)).map(|_| self.of(&["/x", "/y"])).collect();
        directories + self.of(&["/", "/", "/x", "/z.html", "/?", "/x?q", "/?q=/x/?"])
    }

    fn indicator(&mut self) -> Indicator {
        let scope = self.of(&Scope::ALL);
        let expression = match scope {
            Scope::Host | Scope::Domain => self.host(),
            Scope::Exact | Scope::Expression => self.host() + &self.path(),
        };
        match self.below(8) {
            0 => {
                let address = std::net::Ipv4Addr::new(10, 0, 0, self.below(12) as u8);
                Indicator::Ipv4(Ipv4Block::containing(address, 28 + self.below(5) as u8))
            }
            1..4 if scope == Scope::Expression => Indicator::WebSha256(Sha256::digest(&expression).into()),
            _ => Indicator::Web { scope, expression: expression.into() },
        }
    }
}

/// Returns rows of a few addresses, in all scopes and of several sources, which suppress and outrank one another.
fn rows() -> Vec<Row> {
    use RecordType::{Malware, Phishing, Riskware, Tracking, Trusted};
    let mut choices = Choices(1);
    let mut rows = Vec::new();
    for _ in 0..500 {
        let indicator = choices.indicator();
        for source in ["beta", "alpha", "gamma"].into_iter().take(1 + choices.below(3) as usize) {
            rows.push(Row {
                indicator: indicator.clone(),
                id: rows.len() as u64,
                record_type: choices.of(&[Malware, Phishing, Riskware, Tracking, Trusted, Trusted]),
                name: format!("Name-{}", choices.below(7)),
                source: source.into(),
                timestamp: Timestamp::from_seconds(choices.below(4) as u32),
                // Long ago, or never.
                expiry: Timestamp::from_seconds(u32::from(choices.below(5) == 0)),
                port: Some(choices.below(2) as u16 * 443),
            });
        }
    }
    rows
}

fn keys() -> Vec<Key> {
    let mut choices = Choices(2);
    let mut keys: Vec<Key> =
        (0..300).map(|_| WebAddress::parse(&(choices.host() + &choices.path())).unwrap().into()).collect();
    keys.extend((0..20).map(|n| key(&format!("url:host{n}.good.test/page?{n}"))));
    keys.extend((0..12).map(|n| key(&format!("ipv4:10.0.0.{n}"))));
    keys.extend((0..20).map(|number| sha256(number).into()));
    keys
}

/// Returns a key whose host has as many labels as fit.
fn long_host() -> Key {
    key(&format!("url:{}example/x/y/z/x?q", "a.".repeat(122)))
}

async fn serve(change: impl FnOnce(&mut ServerLimits)) -> Running {
    let server = Running::start(|config| change(&mut config.limits)).await;
    server.index.replace(Snapshot::from_bytes(lookup::build(&rows()).into_bytes()).unwrap());
    server
}

#[tokio::test]
async fn answers_equal_those_of_whole_addresses() {
    let server = serve(|_| {}).await;
    let client = bounded(server.client()).await;
    let mut keys = keys();
    keys.push(long_host());
    check(&client, &keys).await;
    // Few enough to be coalesced, but without concurrent lookups.
    for few in keys.chunks(7) {
        check(&client, few).await;
    }
    let answers = bounded(client.lookup_with(&keys, &options(Detail::All, Some(PrefixWidth::Four)))).await.unwrap();
    let records = || answers.iter().flat_map(|answer| &answer.records);
    for scope in Scope::ALL {
        assert!(records().any(|record| record.scope == Some(scope)), "{scope}");
    }
    let is_host = |(key, answer): (&Key, &Answer)| {
        matches!(key, Key::Web(_)) && answer.records.iter().any(|record| record.scope.is_none())
    };
    assert!(keys.iter().zip(&answers).any(is_host), "a block matched the host of an address");
    assert!(answers.iter().any(|answer| answer.status == Status::Unknown));
    server.stop().await;
}

#[tokio::test]
async fn answers_are_the_same_when_they_are_truncated_or_split() {
    let keys = keys();
    for (answer_bytes, request_bytes, keys_max) in [(12_000, 3_000, 90), (20_000, 100_000, 65_536), (100_000, 700, 60)]
    {
        let limits = |limits: &mut ServerLimits| {
            (limits.answer_bytes, limits.request_bytes, limits.keys) = (answer_bytes, request_bytes, keys_max);
        };
        let server = serve(limits).await;
        let client = bounded(server.client()).await;
        check(&client, &keys).await;
        // Coalesced: keys missing from these answers are requested again in a batch of their own.
        check(&client, &keys[..12]).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn an_address_that_fits_no_answer_is_an_error() {
    let server = serve(|limits| limits.answer_bytes = 1_000).await;
    let client = bounded(server.client()).await;
    let mut keys = keys();
    keys.truncate(320);
    let whole = bounded(client.lookup_with(&keys, &options(Detail::All, None))).await.unwrap();
    let mut ended = 0;
    for few in [320, 5] {
        for (keys, whole) in keys.chunks(few).zip(whole.chunks(few)) {
            let by_prefix = options(Detail::All, Some(PrefixWidth::Eight));
            let answers = bounded(client.lookup_with(keys, &by_prefix)).await.unwrap();
            for (answer, whole) in without_candidates(answers).into_iter().zip(whole) {
                if answer.status == Status::Error {
                    assert!(answer.is_cut && answer.records.is_empty() && answer.reason.is_none());
                    assert!(whole.records.len() > 5, "an answer with few records: {whole:?}");
                    ended += 1;
                } else {
                    assert_eq!(answer, *whole);
                }
            }
        }
    }
    assert!((40..600).contains(&ended), "{ended} of 640");
    server.stop().await;
}

#[tokio::test]
async fn concurrent_lookups_get_their_own_answers() {
    let server = serve(|_| {}).await;
    let client = bounded(server.client()).await;
    let keys = keys();
    let details = [Detail::Winner, Detail::All];
    let mut whole = Vec::new();
    for detail in details {
        whole.push(bounded(client.lookup_with(&keys, &options(detail, None))).await.unwrap());
    }
    let mut lookups = tokio::task::JoinSet::new();
    for n in 0..600usize {
        let (at, detail, prefix) = (n * 5 % 340, n % 2, [None, Some(WIDTHS[0]), Some(WIDTHS[1])][n / 2 % 3]);
        let (client, keys) = (client.clone(), keys[at..at + 4].to_vec());
        lookups.spawn(async move { (at, detail, client.lookup_with(&keys, &options(details[detail], prefix)).await) });
    }
    while let Some(finished) = bounded(lookups.join_next()).await {
        let (at, detail, answers) = finished.unwrap();
        assert_eq!(without_candidates(answers.unwrap()), whole[detail][at..at + 4]);
    }
    server.stop().await;
}

/// Returns the SHA-256 of a text without its first eight bytes.
fn rest(text: &str) -> &'static [u8] {
    Vec::leak(Sha256::digest(text)[8..].to_vec())
}

#[tokio::test]
async fn an_address_is_not_sent_and_forged_expressions_are_not_believed() {
    let texts = ["evil.example", "example", "evil.example/"];
    let prefixes: Vec<u8> = texts.iter().flat_map(|text| Sha256::digest(text)[..8].to_vec()).collect();
    let lookup = async |row: u32, matched: Matched<'static>| {
        let (key, prefixes) = (key("url:evil.example/"), prefixes.clone());
        lookup_forged(key, prefixes, texts.len() as u32, row, matched).await
    };
    for (row, scope, text) in [
        (0, Scope::Domain, "evil.example"),
        (0, Scope::Host, "evil.example"),
        (1, Scope::Domain, "example"),
        (2, Scope::Exact, "evil.example/"),
        (2, Scope::Expression, "evil.example/"),
    ] {
        let answer = lookup(row, Matched::WebSuffix(scope, rest(text))).await.unwrap().remove(0);
        assert_eq!((answer.status, answer.candidates), (Status::Known, 1), "{text} {scope}");
        assert_eq!((answer.records[0].matched.as_deref(), answer.records[0].scope), (Some(text), Some(scope)));
    }
    for (row, matched) in [
        // Another text, the text of another row, scopes in which the address does not try a text, and no scope.
        (0, Matched::WebSuffix(Scope::Domain, &[9; 24])),
        (0, Matched::WebSuffix(Scope::Domain, rest("example"))),
        (0, Matched::WebSuffix(Scope::Exact, rest("evil.example"))),
        (1, Matched::WebSuffix(Scope::Host, rest("example"))),
        (2, Matched::WebSuffix(Scope::Domain, rest("evil.example/"))),
        (0, Matched::Suffix(rest("evil.example"))),
    ] {
        let answer = lookup(row, matched).await.unwrap().remove(0);
        assert_eq!((answer.status, answer.candidates), (Status::Unknown, 1), "{matched:?}");
    }
    for wrong in [&[7; 23][..], &[7; 25], &[]] {
        let error = lookup(0, Matched::WebSuffix(Scope::Domain, wrong)).await.unwrap_err();
        assert!(
            matches!(&error, LookupError::Protocol(source) if source.to_string().contains("suffixes")),
            "{error:?}"
        );
    }
    let error = lookup(3, Matched::WebSuffix(Scope::Domain, rest("example"))).await.unwrap_err();
    assert!(matches!(error, LookupError::Protocol(_)), "{error:?}");
}

#[test]
fn an_address_has_no_more_rows_than_documented() {
    let Key::Web(address) = long_host() else { panic!("an address") };
    let mut rows = 0;
    address.parts().for_each_text(|_, _| rows += 1);
    assert_eq!(rows, 123 + 5 * 6);
}
