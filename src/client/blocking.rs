//! A blocking client for programs without a Tokio runtime.

use std::{fmt, sync::Arc, thread};

use tokio::{runtime, sync::oneshot};

use super::{
    Client,
    coalescer::SharedLookup,
    config::{ClientConfig, LookupOptions},
    error::{ConnectError, LookupError},
};
use crate::{answer::Answer, key::Key, wire::Welcome};

/// A [`Client`] on a dedicated thread. Lookups block the calling thread; many threads may call at the same time.
pub struct BlockingClient {
    client: Option<Client>,
    runtime: runtime::Handle,
    /// Sends the client to the thread, which closes it and ends.
    stop: Option<oneshot::Sender<Client>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Client {
    /// Connects on a dedicated thread, for programs without a Tokio runtime. Fails like [`Client::connect`], or with
    /// [`ConnectError::Socket`] when the runtime or the thread cannot be started.
    pub fn spawn(config: ClientConfig) -> Result<BlockingClient, ConnectError> {
        BlockingClient::spawn(Self::connect(config))
    }

    /// Does on a dedicated thread what [`Client::connect_lazy`] does, for programs without a Tokio runtime.
    pub fn spawn_lazy(config: ClientConfig) -> Result<BlockingClient, ConnectError> {
        BlockingClient::spawn(async { Self::connect_lazy(config) })
    }
}

impl BlockingClient {
    fn spawn(connect: impl Future<Output = Result<Client, ConnectError>>) -> Result<Self, ConnectError> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(ConnectError::Socket)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<Client>();
        let work = move || {
            runtime.block_on(async {
                // The sender is dropped without a client if connecting failed.
                if let Ok(client) = stopped.await {
                    client.close().await;
                }
            });
            // Does not wait for the resolver of the system, which may take longer than the timeout of connecting.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("ksn-client".into()).spawn(work).map_err(ConnectError::Socket)?;
        let mut this = Self { client: None, runtime: handle, stop: Some(stop), thread: Some(thread) };
        this.client = Some(this.runtime.block_on(connect)?);
        Ok(this)
    }

    /// Returns the answer to each key, with the winning record, in the order of the keys. See [`Client::lookup`].
    ///
    /// # Panics
    ///
    /// Panics when called from within a Tokio runtime, which would be blocked: use [`Client`] there.
    pub fn lookup(&self, keys: &[Key]) -> Result<Vec<Answer>, LookupError> {
        self.lookup_with(keys, &LookupOptions::default())
    }

    /// Returns the answer to each key, in the order of the keys. See [`Client::lookup_with`].
    ///
    /// # Panics
    ///
    /// Panics when called from within a Tokio runtime, which would be blocked: use [`Client`] there.
    pub fn lookup_with(&self, keys: &[Key], options: &LookupOptions) -> Result<Vec<Answer>, LookupError> {
        let client = self.client.as_ref().ok_or(LookupError::Stopped)?;
        self.runtime.block_on(client.lookup_with_leader(keys, options, SharedLookup::spawn_leader))
    }

    /// Returns the welcome of the server. See [`Client::welcome`].
    pub fn welcome(&self) -> Option<Arc<Welcome>> {
        self.client.as_ref().and_then(Client::welcome)
    }
}

/// Closes the connections, sends the close to the server, and waits for the thread to end.
impl Drop for BlockingClient {
    fn drop(&mut self) {
        if let (Some(stop), Some(client)) = (self.stop.take(), self.client.take()) {
            let _ = stop.send(client);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for BlockingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingClient").field("client", &self.client).finish_non_exhaustive()
    }
}
