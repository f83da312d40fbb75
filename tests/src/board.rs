//! The release image under QEMU alone: the test speaks to its port itself.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use coshift_shared::kind::Kind;
use coshift_shared::packet::Header;
use coshift_shared::policy::PolicyView;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::{NO_SESSION, Sender};
use coshift_shared::to_controller::{
    Hello, MAX_CHUNK, PolicyBegin, PolicyChunk, PolicyCommit, ToController,
};
use coshift_shared::to_host::{PolicyAck, Refused, ToHost, UploadState, Welcome};

use crate::emulator::{Emulator, psram};
use crate::monitor::Monitor;
use crate::need::Needs;

/// How long the board may be silent before it is taken for dead: twice its watchdog, and more than a
/// busy machine keeps it waiting.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Control period, µs.
pub const PERIOD_US: u32 = 50_000;

/// A folder for temporary files, gone with its owner.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(what: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("coshift-{what}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self(folder))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind where the system does not let it go.
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// The running board.
#[derive(Debug)]
pub struct Board {
    emulator: Emulator,
    monitor: Monitor,
    port: UnixStream,
    reader: FrameReader,
    sender: Sender,
    waiting: VecDeque<(Header, ToHost)>,
    memory: File,
    /// Nonce of the boot that was met last.
    nonce: Option<u32>,
    sessions: u16,
    timeout: Duration,
}

impl Board {
    /// Boots it on the content of the folder's PSRAM, with these arguments for the emulator.
    ///
    /// # Errors
    /// What the system or the emulator says.
    pub fn start(needs: &Needs, folder: &Path, number: u32, arguments: &[String]) -> Result<Self> {
        let (emulator, port) = Emulator::start_with(needs, folder, number, arguments)?;
        let monitor = Monitor::connect(emulator.monitor_socket())?;
        let memory = File::options().read(true).write(true).open(psram(folder))?;
        port.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            emulator,
            monitor,
            port,
            reader: FrameReader::new(),
            sender: Sender::default(),
            waiting: VecDeque::new(),
            memory,
            nonce: None,
            sessions: 0,
            timeout: PATIENCE,
        })
    }

    /// The emulator.
    #[must_use]
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// Waits no longer than this for a byte from now on.
    ///
    /// # Errors
    /// What the system says.
    pub fn patience(&mut self, timeout: Duration) -> Result<()> {
        self.timeout = timeout;
        Ok(self.port.set_read_timeout(Some(timeout))?)
    }

    /// The first `length` bytes of its PSRAM.
    ///
    /// # Errors
    /// What the system says.
    pub fn memory(&self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.memory.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Resets it on another content of its PSRAM, and gives its first Welcome.
    ///
    /// # Errors
    /// What the emulator says, or the board does not.
    pub fn reset_on(&mut self, memory: &[u8]) -> Result<Welcome> {
        let file = &self.memory;
        self.monitor.reset_with(|| Ok(file.write_all_at(memory, 0)?))?;
        self.booted()
    }

    /// The first Welcome of a boot that was not met yet.
    ///
    /// # Errors
    /// It does not come.
    pub fn booted(&mut self) -> Result<Welcome> {
        loop {
            if let (Header { session: NO_SESSION, .. }, ToHost::Welcome(welcome)) =
                self.message()?
                && self.nonce != Some(welcome.boot_nonce)
            {
                self.nonce = Some(welcome.boot_nonce);
                return Ok(welcome);
            }
        }
    }

    /// Opens a session.
    ///
    /// # Errors
    /// It is not answered.
    pub fn open(&mut self) -> Result<Welcome> {
        self.sessions = self.sessions.wrapping_add(1).max(1);
        self.sender.open(self.sessions);
        let VersionRange { min, current } = VersionRange::OURS;
        self.send(&ToController::Hello(Hello {
            at_us: 0,
            protocol_min: min,
            protocol_current: current,
            schema: FINGERPRINT,
            policy_crc: 0,
            version: [0, 1, 0],
            boot_nonce: 4711,
            period_us: PERIOD_US,
        }))?;
        loop {
            if let (header, ToHost::Welcome(welcome)) = self.message()?
                && header.session == self.sessions
            {
                return Ok(welcome);
            }
        }
    }

    /// Sends a message of the session; gives its number.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&mut self, message: &ToController) -> Result<u16> {
        let (seq, frame) = self.sender.to_controller(message)?;
        self.send_bytes(frame.bytes())?;
        Ok(seq)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// What the system says.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.port.write_all(bytes).context("the emulator is gone")
    }

    /// The next message.
    ///
    /// # Errors
    /// None comes, or the emulator ended.
    pub fn message(&mut self) -> Result<(Header, ToHost)> {
        self.poll()?.with_context(|| format!("silent for {:?}", self.timeout))
    }

    /// The next message; `None` where the board says nothing for too long, or only what is none.
    ///
    /// # Errors
    /// The emulator ended.
    pub fn poll(&mut self) -> Result<Option<(Header, ToHost)>> {
        let mut bytes = [0; 512];
        let started = Instant::now();
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(Some(message));
            }
            // A board with a fault may send for ever what no reader takes for a message.
            if started.elapsed() > self.timeout {
                return Ok(None);
            }
            let count = match self.port.read(&mut bytes) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => return Ok(None),
                count => count.context("the emulator is gone")?,
            };
            ensure!(count > 0, "the emulator ended");
            for byte in bytes.iter().take(count) {
                let Received::Packet(header, body) = self.reader.feed(*byte) else { continue };
                // What is none, a board with a fault sent; agents count and drop it.
                let message =
                    Kind::from_byte(header.kind).and_then(|kind| ToHost::decode(kind, body).ok());
                let Some(message) = message else { continue };
                self.waiting.push_back((header, message));
            }
        }
    }

    /// Brings a policy over, in the session that is open, until it is active.
    ///
    /// # Errors
    /// What the board refuses.
    pub fn upload(&mut self, image: &[u8]) -> Result<()> {
        let policy = PolicyView::open(image).context("policy")?;
        let (crc, sequence) = (policy.crc(), policy.sequence());
        let length = u32::try_from(image.len())?;
        self.send(&ToController::PolicyBegin(PolicyBegin { at_us: 1, length, crc, sequence }))?;
        loop {
            let ack = self.acknowledged()?;
            match ack.state {
                UploadState::Active => return Ok(()),
                UploadState::Checking => {}
                UploadState::Receiving if ack.next_offset >= length => {
                    let commit = PolicyCommit { at_us: 1, crc, sequence };
                    self.send(&ToController::PolicyCommit(commit))?;
                }
                UploadState::Receiving => {
                    let rest = image.iter().copied().skip(ack.next_offset as usize);
                    let bytes = rest.take(MAX_CHUNK).collect();
                    let chunk = PolicyChunk { at_us: 1, offset: ack.next_offset, bytes };
                    self.send(&ToController::PolicyChunk(chunk))?;
                }
                UploadState::Rejected | UploadState::Unused => bail!("{ack:?}"),
            }
        }
    }

    fn acknowledged(&mut self) -> Result<PolicyAck> {
        loop {
            match self.message()?.1 {
                ToHost::PolicyAck(ack) => return Ok(ack),
                ToHost::Refused(Refused { why, .. }) => bail!("refused: {why:?}"),
                _ => {}
            }
        }
    }

    /// Whether the emulator has ended by itself.
    pub fn emulator_ended(&mut self) -> bool {
        self.emulator.ended()
    }

    /// Ends the emulator.
    ///
    /// # Errors
    /// What it complained of.
    pub fn end(self) -> Result<()> {
        self.emulator.kill()
    }
}
