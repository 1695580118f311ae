//! `ksn lookup`: asks, and tells what is known.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use ksn::{Key, batch::Detail, key::KeyKind, record::RecordType};

use super::{
    ask::{Asker, Where},
    exit::{Exit, Tally},
    keys::{Asked, CHUNK_LINES, KeyLines},
    output::{self, Paint, Row},
};

/// Ask what is known of keys: hashes, certificate fingerprints, public keys, web addresses, IPv4 addresses.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    whom: Where,

    /// Write one JSON object a key, in the order asked.
    #[arg(long)]
    json: bool,

    /// Show every record that matches, in order of precedence, instead of the one that wins.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    fail_on: FailOn,

    /// Read keys from this file, one a line.
    #[arg(long, value_name = "FILE", conflicts_with = "keys")]
    from: Option<PathBuf>,

    /// Keys to ask, or `-` for standard input, one a line.
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
}

/// Which answers are bad news.
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
  sha256: sha1: md5: blake3:            digest of a file; bare, its length tells
  cert-sha256: cert-sha1: cert-md5:     fingerprint of a certificate
  spki-sha256: spki-sha1:               digest of a public key
  url: or a bare address, ipv4: or a bare IPv4 address; defanged forms are understood

Exit codes: 1 when a key is known as bad, else 2 when one could not be answered, else 0.

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
                bail!("`-` stands alone: it reads all keys from standard input")
            }
            None if self.keys.is_empty() => {
                bail!("there is nothing to look up: give keys, `--from FILE`, or `-` for standard input")
            }
            None => None,
        };
        let mut lookup = Lookup {
            asker: self.whom.open()?,
            is_gone: false,
            kinds: Vec::new(),
            detail: if self.all { Detail::All } else { Detail::Winner },
            is_json: self.json,
            has_candidates: self.whom.prefix.is_some(),
            fail_on: self.fail_on.types(),
            tally: Tally::default(),
            paint: Paint::for_stdout(),
            out: output::stdout(),
        };
        match input {
            None => {
                for keys in self.keys.chunks(CHUNK_LINES) {
                    lookup.chunk(keys.iter().map(|text| Asked::from_argument(text)).collect())?;
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

/// A lookup under way.
struct Lookup {
    asker: Asker,
    /// Whether it was told that nobody answers.
    is_gone: bool,
    /// The kinds of key that were asked so far.
    kinds: Vec<KeyKind>,
    detail: Detail,
    is_json: bool,
    /// Whether keys are asked by prefixes.
    has_candidates: bool,
    fail_on: Vec<RecordType>,
    tally: Tally,
    paint: Paint,
    out: io::BufWriter<io::StdoutLock<'static>>,
}

impl Lookup {
    /// Asks some keys and writes their answers, so that they are seen before the next are read.
    fn chunk(&mut self, chunk: Vec<Asked>) -> Result<()> {
        let rows = self.rows(chunk);
        let with_all = self.detail == Detail::All;
        rows.iter().for_each(|row| row.count(&mut self.tally, &self.fail_on));
        if self.is_json {
            rows.iter().try_for_each(|row| output::write_json(&mut self.out, row, with_all, self.has_candidates))?;
        } else {
            output::write_table(&mut self.out, &rows, with_all, self.paint)?;
        }
        self.out.flush()?;
        Ok(())
    }

    /// Says once for each kind that nothing can be known of it: "unknown" would sound as if something might.
    fn warn_of_kinds_without_records(&mut self, keys: &[Key]) {
        for kind in keys.iter().map(Key::kind) {
            if !self.kinds.contains(&kind) {
                self.kinds.push(kind);
                if self.asker.records(kind) == Some(0) {
                    eprintln!("ksn: there are no records of the kind {kind}: every such key is unknown");
                }
            }
        }
    }

    fn rows(&mut self, chunk: Vec<Asked>) -> Vec<Row> {
        let keys: Vec<Key> = chunk.iter().filter_map(|asked| asked.key.as_ref().ok()).cloned().collect();
        self.warn_of_kinds_without_records(&keys);
        let answers = if keys.is_empty() { Ok(Vec::new()) } else { self.asker.ask(&keys, self.detail) };
        if let Err(reason) = &answers
            && !self.is_gone
        {
            eprintln!("ksn: {reason}");
            self.is_gone = true;
            // Whoever did not answer once is not waited for again, key after key.
            self.asker = Asker::Gone(reason.clone());
        }
        let mut answers = answers.map(Vec::into_iter);
        let row = |asked: Asked| match &asked.key {
            Err(_) => Row::misread(asked),
            Ok(key) => match &mut answers {
                Err(reason) => Row::not_asked(asked.text, key, reason),
                Ok(answers) => match answers.next() {
                    Some(answer) => Row::answered(asked.text, key, answer),
                    None => Row::not_asked(asked.text, key, "the answer was cut short"),
                },
            },
        };
        chunk.into_iter().map(row).collect()
    }
}
