//! Lookup backends: a server, or a snapshot in process.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};
use ksn::{
    Answer, BlockingClient, Client, ClientConfig, ConnectError, Index, Key, LookupOptions, Pin, Trust,
    batch::Detail,
    key::{KeyKind, PrefixWidth},
    snapshot::SnapshotFile,
    timestamp::Timestamp,
};

use super::{
    error_chain,
    state::{self, Serving},
};

/// Backend selection. The default is the server that was last started on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct BackendArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Query this snapshot in process, without a server.
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
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

/// Server address and trust. The default is the server that was last started on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgs {
    /// Query this server: `name:port` or `address:port`.
    #[arg(long, value_name = "ADDR")]
    pub(super) server: Option<String>,

    /// Trust server certificates issued by an authority in this PEM file.
    #[arg(long, value_name = "PEM", requires = "server", conflicts_with = "pin")]
    ca: Option<PathBuf>,

    /// Trust the certificate with this pin, as printed by `ksn serve`: `sha256:` and 64 hexadecimal digits.
    #[arg(long, value_name = "PIN", requires = "server")]
    pin: Option<Pin>,
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
            None => self.server.connect(LookupOptions { prefix: self.prefix, ..LookupOptions::default() }),
        }
    }
}

impl ServerArgs {
    /// Connects with these lookup options, see [`BackendArgs::open`].
    pub(super) fn connect(&self, options: LookupOptions) -> Result<Backend> {
        let config = self.config()?;
        let server = config.server.clone();
        Ok(match Client::spawn(config) {
            Ok(client) => Backend::Server(Box::new(client), options),
            Err(e) => Backend::Disconnected(self.explain(&e, &server)),
        })
    }

    /// Returns the client configuration.
    pub(super) fn config(&self) -> Result<ClientConfig> {
        let (server, trust) = self.server_and_trust()?;
        Ok(ClientConfig::new(server, trust))
    }

    /// Formats a connection error, with a hint when `--server` was not given.
    pub(super) fn explain(&self, error: &ConnectError, server: &str) -> String {
        match self.server {
            Some(_) => error.to_string(),
            None => {
                format!("{error} (no server answers at {server}; start one with `ksn serve --db records.ksn`)")
            }
        }
    }

    fn server_and_trust(&self) -> Result<(String, Trust)> {
        if let Some(server) = &self.server {
            if let Some(file) = &self.ca {
                return Ok((server.clone(), Trust::Authorities { file: file.clone(), server_name: None }));
            }
            if let Some(pin) = self.pin {
                return Ok((server.clone(), Trust::Pin(pin)));
            }
        }
        let saved = Serving::load(&state::directory()?)?;
        match (&self.server, saved) {
            (None, Some(saved)) => Ok((saved.address.to_string(), Trust::Pin(saved.pin()?))),
            (Some(server), Some(saved)) if *server == saved.address.to_string() => {
                Ok((server.clone(), Trust::Pin(saved.pin()?)))
            }
            (Some(server), _) => bail!(
                "cannot authenticate {server}: give `--pin` with the pin that `ksn serve` printed there, or `--ca` \
                 with the PEM file of its certificate authority"
            ),
            (None, None) => bail!(
                "no server was started on this machine yet: start one with `ksn serve --db records.ksn`, or give \
                 `--db FILE` or `--server ADDR`"
            ),
        }
    }
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
            Self::Server(client, _) => Some(client.welcome().records(kind)),
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
