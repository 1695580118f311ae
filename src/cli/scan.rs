//! `ksn scan`: hashes files and looks them up.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Result;
use ksn::{
    Answer, Key, Status,
    batch::Detail,
    key::{Digest, DigestKind, KeyKind},
};
use md5::Md5;
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{
    backend::{Backend, BackendArgs},
    exit::{Exit, Tally},
    lookup::FailOn,
    merge::{Merged, merge},
    output,
};

/// Hash files and look up their digests.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    backend: BackendArgs,

    /// Write one JSON object per file.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    fail_on: FailOn,

    /// Files to hash.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Each file is looked up by MD5, SHA-1, SHA-256 and BLAKE3; a file that is bad by any of them is bad. A file
that is trusted by MD5 or SHA-1 only is marked weak, because another file with the same digest can be made.

Exit codes: 1 when a file is known as bad, else 2 when a file could not be read or looked up, else 0.

Examples:
  ksn scan --db records.ksn setup.exe
  find /srv -type f -print0 | xargs -0 ksn scan --json";

/// Files per lookup.
const FILES_AT_ONCE: usize = 64;

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        let backend = self.backend.open()?;
        backend.prepare(
            [DigestKind::Md5, DigestKind::Sha1, DigestKind::Sha256, DigestKind::Blake3].map(KeyKind::Digest),
        )?;
        let fail_on = self.fail_on.types();
        let mut tally = Tally::default();
        let mut out = output::stdout();
        for files in self.files.chunks(FILES_AT_ONCE) {
            for scanned in scan(files, &backend) {
                let merged = scanned.merged();
                tally.has_bad |= merged.is_some_and(|c| fail_on.contains(&c.record.record_type));
                tally.has_errors |= scanned.answers.is_err();
                match self.json {
                    true => writeln!(out, "{}", scanned.to_json())?,
                    false => writeln!(out, "{}", scanned.to_line())?,
                }
            }
            out.flush()?;
        }
        Ok(tally.exit())
    }
}

/// One file and its answers.
struct Scanned<'f> {
    file: &'f Path,
    /// Empty when the file could not be read.
    digests: Vec<Digest>,
    /// One answer per digest, or the status and reason.
    answers: Result<Vec<Answer>, (Status, String)>,
}

fn scan<'f>(files: &'f [PathBuf], backend: &Backend) -> Vec<Scanned<'f>> {
    let hashed: Vec<_> = files.iter().map(|file| (file, File::open(file).and_then(hash))).collect();
    let keys: Vec<Key> =
        hashed.iter().filter_map(|(_, digests)| digests.as_ref().ok()).flatten().copied().map(Key::from).collect();
    let mut answers = match keys.is_empty() {
        true => Ok(Vec::new().into_iter()),
        false => backend.lookup(&keys, Detail::Winner).map(Vec::into_iter),
    };
    let scanned = |(file, digests): (&'f PathBuf, io::Result<[Digest; 4]>)| match digests {
        Err(e) => Scanned { file, digests: Vec::new(), answers: Err((Status::Error, format!("cannot read it: {e}"))) },
        Ok(digests) => {
            let answers = match &mut answers {
                Ok(answers) => Ok(answers.by_ref().take(digests.len()).collect()),
                Err(reason) => Err((Status::NotAsked, reason.clone())),
            };
            Scanned { file, digests: digests.into(), answers }
        }
    };
    hashed.into_iter().map(scanned).collect()
}

/// Computes all digests in one pass.
fn hash(mut input: impl Read) -> io::Result<[Digest; 4]> {
    let (mut md5, mut sha1, mut sha256, mut blake3) = (Md5::new(), Sha1::new(), Sha256::new(), blake3::Hasher::new());
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let bytes = &buffer[..read];
        md5.update(bytes);
        sha1.update(bytes);
        sha256.update(bytes);
        blake3.update(bytes);
    }
    let digest = |kind, bytes: &[u8]| Digest::new(kind, bytes).ok_or(io::ErrorKind::InvalidData);
    Ok([
        digest(DigestKind::Md5, &md5.finalize())?,
        digest(DigestKind::Sha1, &sha1.finalize())?,
        digest(DigestKind::Sha256, &sha256.finalize())?,
        digest(DigestKind::Blake3, blake3.finalize().as_bytes())?,
    ])
}

impl Scanned<'_> {
    fn merged(&self) -> Option<Merged<'_>> {
        let answers = self.answers.as_ref().ok()?;
        let kinds = self.digests.iter().map(|digest| ksn::key::KeyKind::Digest(digest.kind()));
        merge(kinds.zip(answers))
    }

    fn status(&self) -> &'static str {
        match &self.answers {
            Err((status, _)) => status.name(),
            Ok(_) if self.merged().is_some() => Status::Known.name(),
            Ok(_) => Status::Unknown.name(),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let mut object = json!({ "file": self.file.display().to_string(), "status": self.status() });
        for digest in &self.digests {
            object[digest.kind().prefix()] = ksn::key::Hex(digest.bytes()).to_string().into();
        }
        if let Err((_, reason)) = &self.answers {
            object["reason"] = reason.as_str().into();
        }
        if let Some(Merged { record, kind, is_weak }) = self.merged() {
            object["found_by"] = kind.prefix().into();
            object["weak"] = is_weak.into();
            object["record"] = json!(output::JsonRecord::from(record));
        }
        object
    }

    fn to_line(&self) -> String {
        let file = output::plain(&self.file.display().to_string());
        match (&self.answers, self.merged()) {
            (Err((status, reason)), _) => format!("{:<17}  {file}  {reason}", status.name()),
            (_, None) => format!("{:<17}  {file}", "unknown"),
            (_, Some(Merged { record, kind, is_weak })) => {
                let weak = if is_weak { ", weak: another file with this digest can be made" } else { "" };
                let about = output::describe(record);
                format!("{:<17}  {file}  {about}, by {kind}{weak}", record.record_type.name())
            }
        }
    }
}
