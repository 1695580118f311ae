//! Who answers: a server, or a snapshot in this process.

use std::{path::PathBuf, time::SystemTime};

use anyhow::{Context, Result, bail};
use ksn::{
    Answer, BlockingClient, Client, ClientConfig, ConnectError, Index, Key, LookupOptions, Pin, Trust,
    batch::Detail,
    key::{KeyKind, PrefixWidth},
    timestamp::Timestamp,
};

use super::state::{self, Serving};

/// Where to ask. Without any of it, the server that was last started on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    #[command(flatten)]
    server: WhichServer,

    /// Ask this snapshot in this process, without a server.
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    db: Option<PathBuf>,

    /// Send only the first 8 or 4 bytes of digests and of hashed expressions of web addresses; answers stay exact.
    ///
    /// The server answers with every record that begins so, and what was meant is picked here. 8 saves traffic for digests.
    /// 4 hides what is not listed: a listed one can be guessed by the server, and one object that is asked under several
    /// kinds narrows itself down, as do the several expressions of a web address, whose number shows too. IPv4 addresses
    /// are sent whole, also as the host of a web address.
    #[arg(long, value_name = "BYTES", value_parser = prefix_width, conflicts_with = "db")]
    pub(super) prefix: Option<PrefixWidth>,
}

/// Which server to ask, and how it is recognised. Without any of it, the one that was last started on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct WhichServer {
    /// Ask this server: `name:port` or `address:port`.
    #[arg(long, value_name = "ADDR")]
    pub(super) server: Option<String>,

    /// Trust a server whose certificate comes from an authority in this PEM file.
    #[arg(long, value_name = "PEM", requires = "server", conflicts_with = "pin")]
    ca: Option<PathBuf>,

    /// Trust the server with this certificate, as `ksn serve` prints it: `sha256:` and 64 digits.
    #[arg(long, value_name = "PIN", requires = "server")]
    pin: Option<Pin>,
}

fn prefix_width(text: &str) -> Result<PrefixWidth, String> {
    let bytes = text.parse().ok().and_then(PrefixWidth::from_bytes);
    bytes.ok_or_else(|| "expected 8, which saves traffic, or 4, which hides digests that are not listed".into())
}

/// Answers keys, or says why nobody does.
pub(super) enum Asker {
    Local(Box<Index>),
    /// A server, which is asked in this way but for the detail.
    Server(Box<BlockingClient>, LookupOptions),
    /// Nobody, for this reason.
    Gone(String),
}

impl Where {
    /// Opens the snapshot or connects. What was asked for wrongly is an error; a server that cannot be reached is an
    /// asker that answers nothing.
    pub(super) fn open(&self) -> Result<Asker> {
        match &self.db {
            Some(path) => Ok(Asker::Local(Box::new(open(path)?))),
            None => self.server.connect(LookupOptions { prefix: self.prefix, ..LookupOptions::default() }),
        }
    }
}

impl WhichServer {
    /// Connects and asks in that way, see [`Where::open`].
    pub(super) fn connect(&self, options: LookupOptions) -> Result<Asker> {
        let config = self.config()?;
        let server = config.server.clone();
        Ok(match Client::spawn(config) {
            Ok(client) => Asker::Server(Box::new(client), options),
            Err(e) => Asker::Gone(self.explain(&e, &server)),
        })
    }

    /// What a client needs to connect.
    pub(super) fn config(&self) -> Result<ClientConfig> {
        let (server, trust) = self.server_and_trust()?;
        Ok(ClientConfig::new(server, trust))
    }

    /// Why there is no connection, and what to do when nobody named the server.
    pub(super) fn explain(&self, error: &ConnectError, server: &str) -> String {
        match self.server {
            Some(_) => error.to_string(),
            None => {
                format!("{error} (nothing answers at {server}; start it with `ksn serve --db records.ksn`)")
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
                "how is {server} to be recognised? Give `--pin` with what `ksn serve` printed there, or `--ca` with the \
                 PEM file of its authority"
            ),
            (None, None) => bail!(
                "no server was started on this machine yet: start one with `ksn serve --db records.ksn`, or give \
                 `--db FILE` or `--server ADDR`"
            ),
        }
    }
}

impl Asker {
    /// How many records there are that answer a kind of key, where somebody can say.
    pub(super) fn records(&self, kind: KeyKind) -> Option<u64> {
        match self {
            Self::Local(index) => Some(index.view().records(kind)),
            Self::Server(client, _) => Some(client.welcome().records(kind)),
            Self::Gone(_) => None,
        }
    }

    /// The answers by position, or why there are none.
    pub(super) fn ask(&self, keys: &[Key], detail: Detail) -> Result<Vec<Answer>, String> {
        match self {
            Self::Local(index) => Ok(index.lookup(keys, detail, now())),
            Self::Server(client, options) => {
                let options = LookupOptions { detail, ..*options };
                client.lookup_with(keys, &options).map_err(|e| e.to_string())
            }
            Self::Gone(reason) => Err(reason.clone()),
        }
    }
}

/// Opens a snapshot.
pub(super) fn open(path: &std::path::Path) -> Result<Index> {
    Index::open(path).with_context(|| format!("{}", path.display()))
}

/// This moment. A clock outside 1970 to 2106 is as good as none: nothing has expired yet.
pub(super) fn now() -> Timestamp {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    i64::try_from(seconds).ok().and_then(Timestamp::from_unix).unwrap_or(Timestamp::from_seconds(1).expect("not zero"))
}
