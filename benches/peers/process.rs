//! Servers in child processes that never outlive this process.

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

/// A child process that is killed on drop.
pub(crate) struct Process(Arc<Mutex<Child>>);

static RUNNING: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

impl Process {
    /// Starts a program on the server core. `package` is the Debian package that provides it.
    pub(crate) fn start(command: &mut Command, package: &str) -> Result<Self, Skip> {
        command.stdout(Stdio::null());
        Ok(Self(Self::spawn(command, package)?))
    }

    /// Starts a program on the server core and waits for its first line of output.
    pub(crate) fn start_and_read_line(command: &mut Command) -> Result<(Self, String), Skip> {
        command.stdout(Stdio::piped());
        let this = Self(Self::spawn(command, "cargo")?);
        let mut line = String::new();
        let out = lock(&this.0).stdout.take().ok_or("the output of the child process is not piped")?;
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
                Err(format!("{program} not found; install it with `apt-get install {package}`"))
            }
            Err(e) => Err(format!("cannot start {program}: {e}")),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        lock(&self.0).id()
    }

    /// Returns whether the process has exited.
    fn has_exited(&self) -> bool {
        !matches!(lock(&self.0).try_wait(), Ok(None))
    }

    /// Waits until the process accepts connections.
    pub(crate) fn wait_for(&self, address: SocketAddr) -> Result<(), Skip> {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if self.has_exited() {
                return Err("the server exited at once; start it manually to see the error".into());
            }
            if Instant::now() > until {
                return Err(format!("no server on {address} after ten seconds"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill(&self.0);
        lock(&RUNNING).retain(|child| !Arc::ptr_eq(child, &self.0));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill(child: &Mutex<Child>) {
    let mut child = lock(child);
    let (_, _) = (child.kill(), child.wait());
}

/// Kills the child processes when this process is interrupted. (A panic drops them.)
pub(crate) fn kill_all_on_interrupt() {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(interrupted());
        lock(&RUNNING).iter().for_each(|child| kill(child));
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

/// Returns a port of loopback that is currently free for TCP and UDP.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}
