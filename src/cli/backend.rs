//! Lookup backends: a server, or a snapshot in process.

use std::{path::PathBuf, time::SystemTime};

use anyhow::{Context, Result};
use ksn::{
    Answer, BlockingClient, Client, Index, Key, LookupOptions,
    batch::Detail,
    key::{KeyKind, PrefixWidth},
    timestamp::Timestamp,
};

use super::server_args::ServerArgs;

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
    Local(Box<Index>),
    /// A server, and the lookup options without the detail.
    Server(Box<BlockingClient>, LookupOptions),
    /// No connection, with the reason.
    Disconnected(String),
}

impl BackendArgs {
    /// Opens the snapshot or connects to the server. Fails when the arguments or the snapshot are invalid; an
    /// unreachable server is [`Backend::Disconnected`].
    pub(super) fn open(&self) -> Result<Backend> {
        match &self.db {
            Some(path) => Ok(Backend::Local(Box::new(open(path)?))),
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

impl Backend {
    /// Returns the number of records for keys of this kind; `None` without a connection.
    pub(super) fn records(&self, kind: KeyKind) -> Option<u64> {
        match self {
            Self::Local(index) => Some(index.view().records(kind)),
            Self::Server(client, _) => Some(client.welcome().records(kind)),
            Self::Disconnected(_) => None,
        }
    }

    /// Returns the answers by position, or the reason why there are none.
    pub(super) fn lookup(&self, keys: &[Key], detail: Detail) -> Result<Vec<Answer>, String> {
        match self {
            Self::Local(index) => Ok(index.lookup(keys, detail, now())),
            Self::Server(client, options) => {
                let options = LookupOptions { detail, ..*options };
                client.lookup_with(keys, &options).map_err(|e| e.to_string())
            }
            Self::Disconnected(reason) => Err(reason.clone()),
        }
    }
}

/// Opens a snapshot.
pub(super) fn open(path: &std::path::Path) -> Result<Index> {
    Index::open(path).with_context(|| format!("{}", path.display()))
}

/// Returns the current time. With a clock outside 1970 to 2106, returns the earliest time: nothing has expired.
pub(super) fn now() -> Timestamp {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    i64::try_from(seconds).ok().and_then(Timestamp::from_unix).unwrap_or(Timestamp::from_seconds(1).expect("not zero"))
}
