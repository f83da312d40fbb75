//! The relay: between the agent's port and the microcontroller's socket, with the line's faults.
//!
//! The agent opens [`Relay::port`], the slave of a pseudo-terminal pair that the relay keeps, so
//! that a microcontroller can end and another one boot behind the same port. One thread carries
//! both directions; it never waits for one of them alone.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::line::Line;
use crate::wire::Direction;

/// How long the thread sleeps at most before it looks for orders.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// Bytes of one read.
const CHUNK: usize = 4096;
/// Bytes of garbage put in at a time.
const GARBAGE_CHUNK: u64 = 512;
/// Bytes that may wait in the system for the microcontroller: so few that frames do not wait
/// seconds behind garbage.
const SOCKET_BUFFER: usize = 4096;
/// Bytes that may wait in the relay for one end; then the other end waits too.
const PENDING: usize = 1 << 16;
/// How long an order may take before the relay hangs; asserts nothing about speed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running relay; it ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    line: Arc<Mutex<Line>>,
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    port: PathBuf,
    /// Keeps the terminal alive while no agent has it open.
    _slave: OwnedFd,
}

#[derive(Debug)]
enum Order {
    /// This is the microcontroller from now on; it is answered when done.
    Connect(UnixStream, SyncSender<()>),
    /// There is none from now on.
    Disconnect(SyncSender<()>),
}

impl Relay {
    /// A relay with a port and no microcontroller.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(line: Line) -> Result<Self> {
        // Closed when other programs start: the agent shall not inherit the far end of its port.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).context("cannot open a pseudo-terminal")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?.into_bytes();
        let port = PathBuf::from(std::ffi::OsString::from_vec(name));
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        // Before the first byte, or it is echoed.
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        let line = Arc::new(Mutex::new(line));
        let (orders, taken) = sync_channel(1);
        let pump = Pump {
            line: Arc::clone(&line),
            master: File::from(master),
            mcu: None,
            to_mcu: Vec::new(),
            to_agent: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || pump.run(&taken))
            .context("cannot start the relay")?;
        Ok(Self { line, orders: Some(orders), thread: Some(thread), port, _slave: slave })
    }

    /// Path of the agent's port.
    #[must_use]
    pub fn port(&self) -> &Path {
        &self.port
    }

    /// The line.
    pub fn line(&self) -> MutexGuard<'_, Line> {
        lock(&self.line)
    }

    /// Carries bytes from and to this microcontroller from now on.
    ///
    /// # Errors
    /// The relay ended.
    pub fn connect(&self, mcu: UnixStream) -> Result<()> {
        mcu.set_nonblocking(true)?;
        set_socket_send_buffer_size(&mcu, SOCKET_BUFFER)?;
        self.order(|done| Order::Connect(mcu, done))
    }

    /// There is no microcontroller from now on; what is on its way to or from it is lost.
    ///
    /// # Errors
    /// The relay ended.
    pub fn disconnect(&self) -> Result<()> {
        self.order(Order::Disconnect)
    }

    fn order(&self, order: impl FnOnce(SyncSender<()>) -> Order) -> Result<()> {
        let (done, wait) = sync_channel(1);
        let orders = self.orders.as_ref().context("the relay ended")?;
        orders.send(order(done)).context("the relay ended")?;
        wait.recv_timeout(PATIENCE).context("the relay does not answer")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked said so itself.
            let _ended = thread.join();
        }
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Pump {
    line: Arc<Mutex<Line>>,
    master: File,
    mcu: Option<UnixStream>,
    /// What waits to be written.
    to_mcu: Vec<u8>,
    to_agent: Vec<u8>,
}

impl Pump {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.try_recv() {
                Ok(Order::Connect(mcu, done)) => {
                    self.cut();
                    self.mcu = Some(mcu);
                    let _nobody_waits = done.send(());
                }
                Ok(Order::Disconnect(done)) => {
                    self.cut();
                    let _nobody_waits = done.send(());
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
            }
            self.wait();
            self.receive();
            self.add();
            self.send();
        }
    }

    fn cut(&mut self) {
        self.mcu = None;
        self.to_mcu.clear();
        self.to_agent.clear();
        lock(&self.line).cut();
    }

    /// Sleeps until something can be done.
    fn wait(&self) {
        let wanted = |receive: bool, send: bool| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, receive);
            flags.set(PollFlags::OUT, send);
            flags
        };
        let (agent, mcu) = (
            wanted(self.to_mcu.len() < PENDING, !self.to_agent.is_empty()),
            wanted(self.to_agent.len() < PENDING, !self.to_mcu.is_empty()),
        );
        let mut ends = vec![PollFd::from_borrowed_fd(self.master.as_fd(), agent)];
        ends.extend(self.mcu.as_ref().map(|stream| PollFd::from_borrowed_fd(stream.as_fd(), mcu)));
        // Interrupted or not, everything is looked at again.
        let _ready = poll(&mut ends, Some(&TICK));
    }

    fn receive(&mut self) {
        let mut buffer = [0; CHUNK];
        if self.to_mcu.len() < PENDING
            && let Ok(length) = self.master.read(&mut buffer)
        {
            lock(&self.line).pass(Direction::ToMcu, &buffer[..length], &mut self.to_mcu);
        }
        if self.to_agent.len() < PENDING
            && let Some(mcu) = &mut self.mcu
        {
            match mcu.read(&mut buffer) {
                Ok(length @ 1..) => {
                    let bytes = &buffer[..length];
                    lock(&self.line).pass(Direction::FromMcu, bytes, &mut self.to_agent);
                }
                Err(error) if is_later(&error) => {}
                Ok(0) | Err(_) => self.mcu = None,
            }
        }
    }

    /// Adds garbage, and what waited for the end of a stall.
    fn add(&mut self) {
        let mut line = lock(&self.line);
        for (direction, pending) in
            [(Direction::ToMcu, &mut self.to_mcu), (Direction::FromMcu, &mut self.to_agent)]
        {
            line.pass(direction, &[], pending);
            // Garbage fills what the frames leave.
            if pending.is_empty() {
                line.pass_garbage(direction, GARBAGE_CHUNK, pending);
            }
        }
    }

    fn send(&mut self) {
        write_some(&mut self.master, &mut self.to_agent);
        match &mut self.mcu {
            Some(mcu) => write_some(mcu, &mut self.to_mcu),
            // Nobody listens.
            None => self.to_mcu.clear(),
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Writes what is taken now; what cannot be written at all is lost.
fn write_some(end: &mut impl Write, pending: &mut Vec<u8>) {
    if pending.is_empty() {
        return;
    }
    match end.write(pending) {
        Ok(length) => drop(pending.drain(..length)),
        Err(error) if is_later(&error) => {}
        Err(_) => pending.clear(),
    }
}
