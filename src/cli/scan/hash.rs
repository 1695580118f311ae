//! Computes the digests of files.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender},
    },
};

use ksn::key::{Digest, DigestKind};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{
    super::output::Plural,
    find::{Target, not_a_file},
};

/// What all hashing threads need to know.
#[derive(Debug)]
pub(super) struct Shared {
    /// The algorithms to hash with. Without any, files are opened but not read.
    pub(super) algorithms: Vec<DigestKind>,
    /// The size of the largest file that is hashed.
    pub(super) bytes_max: u64,
}

/// A file, and what became of it.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) target: Target,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Hashed {
        digests: Vec<Digest>,
        /// The size of the file.
        bytes: u64,
    },
    /// It could not be hashed, with the reason.
    Failed(String),
    /// It was skipped for its size, with the reason.
    TooLarge(String),
    /// It was skipped because it is not a regular file but this.
    NotAFile(&'static str),
}

impl Scanned {
    pub(super) fn failed(target: Target, error: &io::Error) -> Self {
        Self { target, outcome: Outcome::Failed(format!("cannot read it: {error}")) }
    }

    /// Returns the digests; none if the file was not hashed.
    pub(super) fn digests(&self) -> &[Digest] {
        match &self.outcome {
            Outcome::Hashed { digests, .. } => digests,
            _ => &[],
        }
    }
}

/// Bytes per read: large enough to amortize the system call, small enough for the cache of a core.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes that are read beyond the size of a file. Files of procfs have content and a size of 0; some are endless.
const EXCESS_BYTES_MAX: u64 = 64 << 20;

/// Hashes files until there are no more, or until the receiver of the results is gone.
pub(super) fn hash_targets(shared: &Shared, targets: &Mutex<Receiver<Target>>, scanned: &SyncSender<Scanned>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let next = targets.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(target) = next else { return };
        let hashed = match target.is_stdin() {
            true => hash_stream(io::stdin().lock(), shared, shared.bytes_max, &mut buffer),
            false => hash_file(&target, shared, &mut buffer),
        };
        let result = match hashed {
            Ok(outcome) => Scanned { target, outcome },
            Err(e) => Scanned::failed(target, &e),
        };
        if scanned.send(result).is_err() {
            return;
        }
    }
}

fn hash_file(target: &Target, shared: &Shared, buffer: &mut [u8]) -> io::Result<Outcome> {
    let file = open(target)?;
    let before = file.metadata()?;
    // It may have been replaced since it was found.
    if let Some(what) = not_a_file(before.file_type()) {
        return Ok(Outcome::NotAFile(what));
    }
    if before.len() > shared.bytes_max {
        return Ok(too_large(before.len(), shared));
    }
    let outcome = hash_stream(&file, shared, before.len().saturating_add(EXCESS_BYTES_MAX), buffer)?;
    match outcome {
        // The digests are of no version of the file.
        Outcome::Hashed { .. } if is_changed(&before, &file.metadata()?) => {
            Ok(Outcome::Failed("it changed while it was read".into()))
        }
        outcome => Ok(outcome),
    }
}

/// Opens a file without waiting for another process, and, if it was found in a folder, without following a symbolic
/// link that has replaced it.
fn open(target: &Target) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        use rustix::fs::OFlags;
        let follow = if target.is_named { OFlags::empty() } else { OFlags::NOFOLLOW };
        options.custom_flags((OFlags::NONBLOCK | follow).bits() as i32);
    }
    options.open(&target.path)
}

fn is_changed(before: &Metadata, after: &Metadata) -> bool {
    (before.len(), before.modified().ok()) != (after.len(), after.modified().ok())
}

fn too_large(bytes: u64, shared: &Shared) -> Outcome {
    Outcome::TooLarge(format!("it has {bytes} bytes or more, and --max-size is {}", shared.bytes_max))
}

/// Hashes a stream to its end. Reads at most `bytes_max` bytes and at most those that `--max-size` allows.
fn hash_stream(mut input: impl Read, shared: &Shared, bytes_max: u64, buffer: &mut [u8]) -> io::Result<Outcome> {
    let mut hashers = Hashers::new(&shared.algorithms);
    let mut bytes = 0;
    while !shared.algorithms.is_empty() {
        let read = match input.read(buffer) {
            Ok(0) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        bytes += read as u64;
        if bytes > shared.bytes_max {
            return Ok(too_large(bytes, shared));
        }
        if bytes > bytes_max {
            let excess = Plural(EXCESS_BYTES_MAX, "byte");
            return Ok(Outcome::Failed(format!(
                "it has no end {excess} after the size that it had when it was opened"
            )));
        }
        hashers.update(&buffer[..read]);
    }
    Ok(Outcome::Hashed { digests: hashers.finish(), bytes })
}

/// The algorithms that are computed in one pass.
#[derive(Default)]
struct Hashers {
    md5: Option<Md5>,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
    blake3: Option<Box<blake3::Hasher>>,
}

impl Hashers {
    /// Starts the algorithms of files among `kinds`.
    fn new(kinds: &[DigestKind]) -> Self {
        let has = |kind| kinds.contains(&kind);
        Self {
            md5: has(DigestKind::Md5).then(Md5::new),
            sha1: has(DigestKind::Sha1).then(Sha1::new),
            sha256: has(DigestKind::Sha256).then(Sha256::new),
            blake3: has(DigestKind::Blake3).then(Box::default),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(blake3) = &mut self.blake3 {
            blake3.update(bytes);
        }
    }

    fn finish(self) -> Vec<Digest> {
        [
            self.md5.and_then(|hasher| Digest::new(DigestKind::Md5, &hasher.finalize())),
            self.sha1.and_then(|hasher| Digest::new(DigestKind::Sha1, &hasher.finalize())),
            self.sha256.and_then(|hasher| Digest::new(DigestKind::Sha256, &hasher.finalize())),
            self.blake3.and_then(|hasher| Digest::new(DigestKind::Blake3, hasher.finalize().as_bytes())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(content: &[u8], bytes_max: u64, size_max: u64) -> Outcome {
        let shared = Shared { algorithms: vec![DigestKind::Md5, DigestKind::Blake3], bytes_max: size_max };
        hash_stream(content, &shared, bytes_max, &mut [0; 3]).unwrap()
    }

    #[test]
    fn only_the_given_algorithms_are_computed() {
        let Outcome::Hashed { digests, bytes: 3 } = outcome(b"abc", 3, 3) else { panic!() };
        let texts: Vec<_> = digests.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "md5:900150983cd24fb0d6963f7d28e17f72",
                "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
            ]
        );
    }

    #[test]
    fn endless_input_is_not_read_to_its_end() {
        assert!(matches!(outcome(b"abcd", 3, 9), Outcome::Failed(reason) if reason.contains("no end")));
        assert!(matches!(outcome(b"abcd", 9, 3), Outcome::TooLarge(reason) if reason.contains("--max-size")));
    }
}
