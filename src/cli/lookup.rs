//! `ksn lookup`: looks up keys.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use ksn::{Key, batch::Detail, key::KeyKind, record::RecordType};

use super::{
    backend::{Backend, BackendArgs},
    exit::{Exit, Tally},
    keys::{CHUNK_LINES, KeyLines, ParsedKey},
    output::{self, Paint, Row},
};

/// Look up keys: hashes, certificate fingerprints, public keys, web addresses, IPv4 addresses.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    backend: BackendArgs,

    /// Write one JSON object per key, in input order.
    #[arg(long)]
    json: bool,

    /// Show every matching record in order of precedence, instead of the winner only.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    fail_on: FailOn,

    /// Do not count keys of unsupported kinds, such as SHA-512 and IPv6, as errors.
    #[arg(long)]
    ignore_unsupported: bool,

    /// Read keys from this file, one per line; blank lines and lines that start with `#` are skipped.
    #[arg(long, value_name = "FILE", conflicts_with = "keys")]
    from: Option<PathBuf>,

    /// Keys to look up, or `-` to read them from standard input as with `--from`.
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
}

/// Record types that count as bad.
#[derive(Debug, clap::Args)]
pub(super) struct FailOn {
    /// Exit with 1 for these record types, instead of malware, botnet-cc, phishing, bad-certificate, malicious-address.
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    fail_on: Vec<RecordType>,
}

impl FailOn {
    pub(super) fn types(&self) -> Vec<RecordType> {
        match &self.fail_on[..] {
            [] => RecordType::ALL.into_iter().filter(|kind| kind.is_bad()).collect(),
            given => given.to_vec(),
        }
    }
}

const EXAMPLES: &str = "\
Keys:
  sha256: sha1: md5: blake3:            digest of a file; without prefix, detected by length
  cert-sha256: cert-sha1: cert-md5:     fingerprint of a certificate
  spki-sha256: spki-sha1:               digest of a public key
  url: ipv4:                            web address, IPv4 address; the prefix is optional

Defanged forms are accepted. What cannot be a key is an error: 999.1.1.1, a block of addresses, a key with a comment \
after it.

Exit codes: 1 when a key is known as bad, else 2 when a key could not be answered, else 0. A key of an unsupported \
kind was not answered, unless --ignore-unsupported.

Examples:
  ksn lookup --db records.ksn evil.example 192.0.2.7
  ksn lookup --server ksn.example:4433 --ca ca.pem --json - < keys.txt
  ksn lookup --all --fail-on malware,adware hxxp://evil[.]example/a";

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        let input: Option<Box<dyn io::Read + Send>> = match &self.from {
            Some(path) if path.as_os_str() != "-" => {
                Some(Box::new(File::open(path).with_context(|| format!("cannot read keys from {}", path.display()))?))
            }
            Some(_) => Some(Box::new(io::stdin())),
            None if self.keys == ["-"] => Some(Box::new(io::stdin())),
            None if self.keys.iter().any(|key| key == "-") => {
                bail!("`-` reads all keys from standard input and cannot be combined with other keys")
            }
            None if self.keys.is_empty() => {
                bail!("no keys to look up: give keys, `--from FILE`, or `-` for standard input")
            }
            None => None,
        };
        let mut lookup = Lookup {
            backend: self.backend.open()?,
            has_failed: false,
            kinds: Vec::new(),
            detail: if self.all { Detail::All } else { Detail::Winner },
            is_json: self.json,
            has_candidates: self.backend.prefix.is_some(),
            fail_on: self.fail_on.types(),
            tally: Tally::new(self.ignore_unsupported),
            paint: Paint::for_stdout(),
            out: output::stdout(),
        };
        match input {
            None => {
                for keys in self.keys.chunks(CHUNK_LINES) {
                    lookup.chunk(keys.iter().map(|text| ParsedKey::from_argument(text)).collect())?;
                }
            }
            Some(input) => {
                let mut lines = KeyLines::new(input);
                while let Some(chunk) = lines.next_chunk().context("cannot read the keys")? {
                    lookup.chunk(chunk)?;
                }
            }
        }
        Ok(lookup.tally.exit())
    }
}

/// State of a running lookup.
struct Lookup {
    backend: Backend,
    /// Whether a backend failure was printed.
    has_failed: bool,
    /// Key kinds that were looked up so far.
    kinds: Vec<KeyKind>,
    detail: Detail,
    is_json: bool,
    /// Whether keys are looked up by prefix.
    has_candidates: bool,
    fail_on: Vec<RecordType>,
    tally: Tally,
    paint: Paint,
    out: io::BufWriter<io::StdoutLock<'static>>,
}

impl Lookup {
    /// Looks up a chunk of keys and flushes the answers before the next chunk is read.
    fn chunk(&mut self, chunk: Vec<ParsedKey>) -> Result<()> {
        self.backend.prepare(chunk.iter().filter_map(|parsed| Some(parsed.key.as_ref().ok()?.kind())))?;
        let rows = self.rows(chunk);
        let with_all = self.detail == Detail::All;
        rows.iter().for_each(|row| self.tally.count(row.answer(), &self.fail_on));
        if self.is_json {
            rows.iter().try_for_each(|row| output::write_json(&mut self.out, row, with_all, self.has_candidates))?;
        } else {
            output::write_table(&mut self.out, &rows, with_all, self.paint)?;
        }
        self.out.flush()?;
        Ok(())
    }

    /// Warns once per key kind without any records, for which every key is unknown.
    fn warn_of_kinds_without_records(&mut self, keys: &[Key]) {
        for kind in keys.iter().map(Key::kind) {
            if !self.kinds.contains(&kind) {
                self.kinds.push(kind);
                if self.backend.records(kind) == Some(0) {
                    let has_ipv4 = self.backend.records(KeyKind::Ipv4).is_some_and(|records| records > 0);
                    let except = match kind {
                        KeyKind::Web if has_ipv4 => ", unless its host is a listed IPv4 address",
                        _ => "",
                    };
                    eprintln!("ksn: there are no {kind} records: every {kind} key is unknown{except}");
                }
            }
        }
    }

    fn rows(&mut self, chunk: Vec<ParsedKey>) -> Vec<Row> {
        let keys: Vec<Key> = chunk.iter().filter_map(|parsed| parsed.key.as_ref().ok()).cloned().collect();
        self.warn_of_kinds_without_records(&keys);
        let answers = if keys.is_empty() { Ok(Vec::new()) } else { self.backend.lookup(&keys, self.detail) };
        if let Err(reason) = &answers
            && !self.has_failed
        {
            eprintln!("ksn: {reason}");
            self.has_failed = true;
            // Later chunks do not wait for another timeout.
            self.backend = Backend::Disconnected(reason.clone());
        }
        let mut answers = answers.map(Vec::into_iter);
        let row = |parsed: ParsedKey| match &parsed.key {
            Err(_) => Row::invalid(parsed),
            Ok(key) => match &mut answers {
                Err(reason) => Row::not_asked(parsed.text, key, reason),
                Ok(answers) => match answers.next() {
                    Some(answer) => Row::answered(parsed.text, key, answer),
                    None => Row::not_asked(parsed.text, key, "the backend returned fewer answers than keys"),
                },
            },
        };
        chunk.into_iter().map(row).collect()
    }
}
