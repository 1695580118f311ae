//! Servers of others, as child processes that never outlive this one.

use std::{
    io::{self, BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Skip,
    cores::{self, Pinned},
};

/// A child process that ends with this value.
pub(crate) struct Process(Arc<Mutex<Child>>);

static RUNNING: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

impl Process {
    /// Starts a program on the server's core. `package` is what to install where it is missing.
    pub(crate) fn start(command: &mut Command, package: &str) -> Result<Self, Skip> {
        command.stdout(Stdio::null());
        Ok(Self(Self::spawn(command, package)?))
    }

    /// Starts a program on the server's core, and waits for the first line that it prints.
    pub(crate) fn start_and_hear(command: &mut Command) -> Result<(Self, String), Skip> {
        command.stdout(Stdio::piped());
        let this = Self(Self::spawn(command, "cargo")?);
        let mut line = String::new();
        let out = lock(&this.0).stdout.take().ok_or("its output is not piped")?;
        BufReader::new(out).read_line(&mut line).map_err(|e| e.to_string())?;
        Ok((this, line))
    }

    fn spawn(command: &mut Command, package: &str) -> Result<Arc<Mutex<Child>>, Skip> {
        let program = command.get_program().to_string_lossy().into_owned();
        let _pinned = Pinned::to(cores::SERVER);
        match command.stdin(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => {
                let child = Arc::new(Mutex::new(child));
                lock(&RUNNING).push(child.clone());
                Ok(child)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(format!("no {program} here; `apt-get install {package}` brings it"))
            }
            Err(e) => Err(format!("{program} does not start: {e}")),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        lock(&self.0).id()
    }

    /// Whether it has ended by itself.
    fn has_ended(&self) -> bool {
        !matches!(lock(&self.0).try_wait(), Ok(None))
    }

    /// Waits until it accepts connections.
    pub(crate) fn wait_for(&self, address: SocketAddr) -> Result<(), Skip> {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if self.has_ended() {
                return Err("it ended at once; start it by hand to see why".into());
            }
            if Instant::now() > until {
                return Err(format!("nothing listens on {address} after ten seconds"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&self.0);
        lock(&RUNNING).retain(|child| !Arc::ptr_eq(child, &self.0));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(child: &Mutex<Child>) {
    let mut child = lock(child);
    let (_, _) = (child.kill(), child.wait());
}

/// Ends the children before this process when it is interrupted. (A panic drops them.)
pub(crate) fn kill_all_on_interrupt() {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(interrupted());
        lock(&RUNNING).iter().for_each(|child| end(child));
        std::process::exit(130);
    });
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("a handler");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a handler");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    tokio::signal::ctrl_c().await.expect("a handler");
}

/// A port of loopback that is free now, for TCP and UDP.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}
