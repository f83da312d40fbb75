//! The agent's side of the control socket.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::{Answer, IDLE, MAX_CLIENTS, MAX_LINE, Request};

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
#[error("control socket {}: {why}", path.display())]
pub struct SocketFault {
    /// Where it should be.
    pub path: PathBuf,
    /// Why it is not.
    pub why: String,
}

/// Answers one request. It may wait for the agent, but not for ever.
type Serve = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

/// The listening socket; gone when dropped.
#[derive(Debug)]
pub struct ControlServer {
    path: PathBuf,
    /// Device and inode: another agent's socket in the same place is not removed.
    identity: (u64, u64),
    ending: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Listens at `path`. A socket that an agent left behind is replaced, one that answers is not.
    ///
    /// # Errors
    /// [`SocketFault`] names the path and the reason.
    pub fn start(
        path: &Path,
        serve: impl Fn(Request) -> Answer + Send + Sync + 'static,
    ) -> Result<Self, SocketFault> {
        let fault = |why: String| SocketFault { path: path.into(), why };
        make_way(path).map_err(fault)?;
        let listener = bind(path).map_err(|error| fault(error.to_string()))?;
        let identity = fs::symlink_metadata(path)
            .map(|found| (found.dev(), found.ino()))
            .map_err(|error| fault(error.to_string()))?;
        let ending = Arc::new(AtomicBool::new(false));
        let acceptor = {
            let ending = Arc::clone(&ending);
            let serve: Serve = Arc::new(serve);
            thread::Builder::new()
                .name("control".into())
                .spawn(move || accept(&listener, &ending, &serve))
                .map_err(|error| fault(error.to_string()))?
        };
        Ok(Self { path: path.into(), identity, ending, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // Wakes the acceptor; where that fails it ends with the process.
        let woken = UnixStream::connect(&self.path).is_ok();
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours {
            // Already gone is as good.
            let _removed = fs::remove_file(&self.path);
        }
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken && ours) {
            let _ended = acceptor.join();
        }
    }
}

/// Removes what stands in the way if it is a socket that nobody answers.
fn make_way(path: &Path) -> Result<(), String> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if !found.file_type().is_socket() {
        return Err("a file that is no socket is there; name another place".into());
    }
    match UnixStream::connect(path) {
        Ok(_) => Err("another agent answers there; name another place with --control".into()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Binds beside the path, sets the mode, then moves the socket there: at no moment may others
/// connect to it.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let listener = UnixListener::bind(&beside)?;
    let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(0o660))
        .and_then(|()| fs::rename(&beside, path));
    if placed.is_err() {
        let _removed = fs::remove_file(&beside);
    }
    placed.map(|()| listener)
}

fn accept(listener: &UnixListener, ending: &Arc<AtomicBool>, serve: &Serve) {
    let clients = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if ending.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: no reason to spin.
            thread::sleep(std::time::Duration::from_millis(50));
            continue;
        };
        if clients.load(Ordering::Relaxed) >= MAX_CLIENTS {
            let busy = Answer::Error(format!("{MAX_CLIENTS} clients are connected; try again"));
            // The client sees the end of the connection in any case.
            let _told = reply(&stream, &busy);
            continue;
        }
        clients.fetch_add(1, Ordering::Relaxed);
        let (serve, left) = (Arc::clone(serve), Arc::clone(&clients));
        let spawned = thread::Builder::new().name("control-client".into()).spawn(move || {
            // A client that goes away or says nothing ends its thread and nothing else.
            let _ended = converse(&stream, &serve);
            left.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn reply(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    stream.set_write_timeout(Some(IDLE))?;
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    stream.write_all(line.as_bytes())
}

fn converse(stream: &UnixStream, serve: &Serve) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        reader.by_ref().take(most).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let why = format!("a request is one line of at most {MAX_LINE} bytes");
            return reply(stream, &Answer::Error(why));
        }
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => serve(request),
            Err(error) => Answer::Error(format!("no request: {error}")),
        };
        reply(stream, &answer)?;
    }
}
