//! A serial port as a link: UARTs, USB adapters and pseudo-terminals.
//!
//! Two threads: one opens the port, writes, and opens it again with a growing wait when it
//! vanishes; the other reads. Frames to send wait in a bounded queue and are dropped when the port
//! does not take them.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use coshift_shared::frame::Frame;
use serialport::TTYPort;

use super::{Link, LinkEvent, LinkFault};

/// Frames that may wait for the port.
const QUEUE: usize = 64;
/// How long a read or a write waits before it looks whether to end.
const PATIENCE: Duration = Duration::from_millis(50);
/// First wait before the port is opened again; doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(50);
const MAX_WAIT: Duration = Duration::from_secs(2);
/// Bytes of one read.
const CHUNK: usize = 4096;

/// A serial link.
#[derive(Debug)]
pub struct SerialLink {
    frames: Option<SyncSender<Frame>>,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ending: AtomicBool,
    dropped: AtomicU64,
}

/// Tells the user what happened; `false` once nobody listens any more.
type Tell = Arc<Mutex<dyn FnMut(LinkEvent) -> bool + Send>>;

impl SerialLink {
    /// Opens the port, exclusively, and reports to `tell` from then on; the first report is
    /// [`LinkEvent::Up`]. `tell` returns `false` when nobody listens any more.
    ///
    /// # Errors
    /// [`LinkFault`] where the port cannot be opened now.
    pub fn open(
        path: PathBuf,
        baud: u32,
        tell: impl FnMut(LinkEvent) -> bool + Send + 'static,
    ) -> Result<Self, LinkFault> {
        let port = open_port(&path, baud)?;
        let shared = Arc::new(Shared::default());
        let (frames, queue) = sync_channel(QUEUE);
        let supervisor = Supervisor {
            path,
            baud,
            queue,
            shared: Arc::clone(&shared),
            tell: Arc::new(Mutex::new(tell)),
        };
        let writer = thread::Builder::new()
            .name("serial-write".into())
            .spawn(move || supervisor.run(port))
            .map_err(|error| LinkFault { link: "serial".into(), why: error.to_string() })?;
        Ok(Self { frames: Some(frames), shared, writer: Some(writer) })
    }
}

impl Link for SerialLink {
    fn send(&mut self, frame: &Frame) {
        let sent = self.frames.as_ref().map(|frames| frames.try_send(*frame));
        if matches!(sent, Some(Err(TrySendError::Full(_)))) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for SerialLink {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.frames = None;
        if let Some(writer) = self.writer.take() {
            // A thread that panicked has nothing left to give back.
            let _ended = writer.join();
        }
    }
}

fn open_port(path: &Path, baud: u32) -> Result<TTYPort, LinkFault> {
    let text = path.to_string_lossy();
    serialport::new(text.as_ref(), baud).timeout(PATIENCE).exclusive(true).open_native().map_err(
        |error| {
            let why = match error.kind() {
                serialport::ErrorKind::NoDevice => "there is no such port, or it is in use".into(),
                _ => error.to_string(),
            };
            LinkFault { link: format!("serial:{text}@{baud}"), why }
        },
    )
}

struct Supervisor {
    path: PathBuf,
    baud: u32,
    queue: Receiver<Frame>,
    shared: Arc<Shared>,
    tell: Tell,
}

fn say(tell: &Tell, event: LinkEvent) -> bool {
    // Poisoned only after a panic of the listener, which then no longer listens.
    tell.lock().is_ok_and(|mut tell| tell(event))
}

impl Supervisor {
    fn run(self, mut port: TTYPort) {
        loop {
            let why = match port.try_clone_native() {
                Ok(reading) => match self.serve(port, reading) {
                    Some(why) => why,
                    None => return,
                },
                Err(error) => error.to_string(),
            };
            if !say(&self.tell, LinkEvent::Down(why)) {
                return;
            }
            match self.reopen() {
                Some(opened) => port = opened,
                None => return,
            }
        }
    }

    /// Carries frames until the port fails, and says why; `None` when the link is to end.
    fn serve(&self, mut port: TTYPort, reading: TTYPort) -> Option<String> {
        if !say(&self.tell, LinkEvent::Up) {
            return None;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let reader = {
            let (stop, tell) = (Arc::clone(&stop), Arc::clone(&self.tell));
            thread::Builder::new()
                .name("serial-read".into())
                .spawn(move || read_port(reading, &stop, &tell))
        };
        let reader = match reader {
            Ok(reader) => reader,
            Err(error) => return Some(error.to_string()),
        };
        let failed = loop {
            if self.shared.ending.load(Ordering::Relaxed) {
                break None;
            }
            if reader.is_finished() {
                break Some(String::new());
            }
            match self.queue.recv_timeout(PATIENCE) {
                Ok(frame) => {
                    if let Err(error) = self.write(&mut port, &frame) {
                        break Some(error.to_string());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        stop.store(true, Ordering::Relaxed);
        let read_fault = reader.join().unwrap_or(Some("the reading thread failed".into()));
        // Where both ends fail, the reader usually saw the cause first.
        failed.map(|write_fault| read_fault.unwrap_or(write_fault))
    }

    /// Writes a frame. One that the port does not take in time is given up: its rest would be
    /// garbage behind the next one, so a zero closes it there.
    fn write(&self, port: &mut TTYPort, frame: &Frame) -> std::io::Result<()> {
        match port.write_all(frame.bytes()) {
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                match port.write(&[0]) {
                    Err(error) if error.kind() != ErrorKind::TimedOut => Err(error),
                    _ => Ok(()),
                }
            }
            result => result,
        }
    }

    fn reopen(&self) -> Option<TTYPort> {
        let mut wait = FIRST_WAIT;
        loop {
            // Frames of the time without a port are of no use later.
            let until = std::time::Instant::now() + wait;
            while let Some(left) = until.checked_duration_since(std::time::Instant::now()) {
                match self.queue.recv_timeout(left.min(PATIENCE)) {
                    Ok(_) => {
                        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
                if self.shared.ending.load(Ordering::Relaxed) {
                    return None;
                }
            }
            if let Ok(port) = open_port(&self.path, self.baud) {
                return Some(port);
            }
            wait = (wait * 2).min(MAX_WAIT);
        }
    }
}

/// Reads until told to stop; returns why the port failed, if it did.
fn read_port(mut port: TTYPort, stop: &AtomicBool, tell: &Tell) -> Option<String> {
    let mut buffer = [0; CHUNK];
    while !stop.load(Ordering::Relaxed) {
        match port.read(&mut buffer) {
            Ok(0) => return Some("the other end closed the port".into()),
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or(&[]).to_vec();
                // The listener takes its time where it must; the system keeps what comes
                // meanwhile.
                if !say(tell, LinkEvent::Bytes(bytes)) {
                    return None;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}
