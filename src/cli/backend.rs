//! Lookup backends: a server, or a snapshot in process.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use anyhow::{Context, Result};
use ksn::{
    Answer, BlockingClient, Client, Index, Key, LookupOptions,
    batch::Detail,
    key::{KeyKind, PrefixWidth},
    snapshot::SnapshotFile,
    timestamp::Timestamp,
};

use super::{error_chain, server_args::ServerArgs};

/// Backend selection. The default is the server that was last started on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct BackendArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Query this snapshot in process, without a server.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server", "ca", "pin", "timeout"])]
    db: Option<PathBuf>,

    /// Send only the first 8 or 4 bytes of digests and of hashed expressions of web addresses; answers stay exact.
    ///
    /// The server returns every record that matches the prefix, and the client selects the exact matches. 8 reduces
    /// traffic for digests. 4 hides unlisted keys from the server; a listed key can be guessed. Looking up one object
    /// under several kinds narrows it down, as do the expressions of a web address, whose number is visible too. IPv4
    /// addresses are sent whole, also as the host of a web address.
    #[arg(long, value_name = "BYTES", value_parser = prefix_width, conflicts_with = "db")]
    pub(super) prefix: Option<PrefixWidth>,
}

fn prefix_width(text: &str) -> Result<PrefixWidth, String> {
    let bytes = text.parse().ok().and_then(PrefixWidth::from_bytes);
    bytes.ok_or_else(|| "expected 8 (reduces traffic) or 4 (hides unlisted digests from the server)".into())
}

/// Answers lookups.
pub(super) enum Backend {
    /// A snapshot in process.
    Local(Box<Local>),
    /// A server, and the lookup options without the detail.
    Server(Box<BlockingClient>, LookupOptions),
    /// No connection, with the reason.
    Disconnected(String),
}

/// A snapshot of which the sections of a kind of keys are read when the first key of the kind is looked up.
pub(super) struct Local {
    path: PathBuf,
    file: SnapshotFile,
    index: Index,
    /// The kinds whose sections are in the index.
    loaded: Mutex<Vec<KeyKind>>,
}

impl BackendArgs {
    /// Opens the snapshot or connects to the server. Fails when the arguments or the snapshot are invalid; an
    /// unreachable server is [`Backend::Disconnected`].
    pub(super) fn open(&self) -> Result<Backend> {
        match &self.db {
            Some(path) => Ok(Backend::Local(Box::new(Local::open(path)?))),
            None => connect(&self.server, LookupOptions { prefix: self.prefix, ..LookupOptions::default() }),
        }
    }
}

/// Connects with these lookup options, see [`BackendArgs::open`].
pub(super) fn connect(server: &ServerArgs, options: LookupOptions) -> Result<Backend> {
    Ok(match Client::spawn(server.config()?) {
        Ok(client) => Backend::Server(Box::new(client), options),
        Err(e) => Backend::Disconnected(server.explain(&e)),
    })
}

impl Local {
    /// Opens a snapshot and reads its manifest.
    fn open(path: &Path) -> Result<Self> {
        let about = || path.display().to_string();
        let file = SnapshotFile::open(path).with_context(about)?;
        let index = Index::new(file.read(&[]).with_context(about)?);
        Ok(Self { path: path.into(), file, index, loaded: Mutex::default() })
    }

    /// Reads the sections that keys of these kinds need, if they were not read yet.
    fn load(&self, kinds: impl IntoIterator<Item = KeyKind>) -> Result<()> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = loaded.clone();
        for kind in kinds {
            if !wanted.contains(&kind) {
                wanted.push(kind);
            }
        }
        if wanted.len() > loaded.len() {
            let snapshot = self.file.read(&wanted).with_context(|| self.path.display().to_string())?;
            self.index.replace(snapshot);
            *loaded = wanted;
        }
        Ok(())
    }
}

impl Backend {
    /// Reads what lookups of these kinds of keys need from the snapshot. A lookup does it too, but can only report a
    /// damaged snapshot as the reason why its keys were not looked up.
    pub(super) fn prepare(&self, kinds: impl IntoIterator<Item = KeyKind>) -> Result<()> {
        match self {
            Self::Local(local) => local.load(kinds),
            Self::Server(..) | Self::Disconnected(_) => Ok(()),
        }
    }

    /// Returns the number of records for keys of this kind; `None` without a connection.
    pub(super) fn records(&self, kind: KeyKind) -> Option<u64> {
        match self {
            Self::Local(local) => Some(local.index.view().records(kind)),
            Self::Server(client, _) => client.welcome().map(|welcome| welcome.records(kind)),
            Self::Disconnected(_) => None,
        }
    }

    /// Returns the answers by position, or the reason why there are none.
    pub(super) fn lookup(&self, keys: &[Key], detail: Detail) -> Result<Vec<Answer>, String> {
        match self {
            Self::Local(local) => {
                local.load(keys.iter().map(Key::kind)).map_err(|e| error_chain(&e))?;
                Ok(local.index.lookup(keys, detail, now()))
            }
            Self::Server(client, options) => {
                let options = LookupOptions { detail, ..*options };
                client.lookup_with(keys, &options).map_err(|e| e.to_string())
            }
            Self::Disconnected(reason) => Err(reason.clone()),
        }
    }
}

/// Opens a snapshot and reads all of it.
pub(super) fn open(path: &Path) -> Result<Index> {
    Index::open(path).with_context(|| path.display().to_string())
}

/// Opens a snapshot and reads what lookups of one kind of keys need.
pub(super) fn open_for(path: &Path, kind: KeyKind) -> Result<Index> {
    let snapshot = SnapshotFile::open(path).and_then(|file| file.read(&[kind]));
    Ok(Index::new(snapshot.with_context(|| path.display().to_string())?))
}

/// Returns the current time. With a clock outside 1970 to 2106, returns the earliest time: nothing has expired.
pub(super) fn now() -> Timestamp {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    i64::try_from(seconds).ok().and_then(Timestamp::from_unix).unwrap_or(Timestamp::from_seconds(1).expect("not zero"))
}
