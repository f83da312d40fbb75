//! The release image in the emulator, as it is: a policy in its store, frames on its port, and the
//! counter beside it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use coshift_shared::policy::PolicyView;
use coshift_shared::policy::slot::{Described, ERASED, RECORD, TRAILER};
use coshift_shared::reader::FrameReader;
use coshift_shared::to_host::ToHost;

use super::counter::{Counter, Record, records};
use super::expected::message;
use crate::steps::Emulator;
use crate::workspace;

/// Bytes of a slot of the board's policy store, which begins where the file does.
const SLOT_BYTES: usize = 20 * 1024;
const MEMORY_BYTES: u64 = 16 << 20;
/// An image that is silent for so long hangs, and so does an emulator that does not connect or end.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// The running board.
pub(crate) struct Board {
    emulator: Emulator,
    line: UnixStream,
    reader: FrameReader,
    /// Bytes read and not taken in, last first.
    waiting: Vec<u8>,
    folder: Folder,
}

impl Board {
    /// Boots an image with this policy in its store, and the counter where there is one.
    pub(crate) fn boot(
        emulator: &Path,
        image: &Path,
        counter: Option<&Counter>,
        policy: &[u8],
    ) -> Result<Self> {
        let folder = Folder::new()?;
        let memory = folder.0.join("memory");
        fs::write(&memory, slot(policy)?)
            .and_then(|()| fs::File::options().write(true).open(&memory)?.set_len(MEMORY_BYTES))
            .with_context(|| format!("cannot write {}", memory.display()))?;
        let port = folder.0.join("port");
        let listener = UnixListener::bind(&port).context("cannot open a socket")?;
        listener.set_nonblocking(true).context("the socket")?;
        let mut command = Command::new(emulator);
        let memory = format!(
            "memory-backend-file,id=memory,size=16M,mem-path={},share=on",
            memory.display()
        );
        command.args(["-object", &memory, "-machine", "mps2-an386,memory-backend=memory"]);
        command.args(["-cpu", "cortex-m4", "-display", "none"]);
        let monitor = format!("unix:{},server=on,wait=off", folder.monitor().display());
        command.args(["-monitor", &monitor]);
        command.args(["-chardev", &format!("socket,id=port,path={}", port.display())]);
        command.args(["-serial", "chardev:port", "-serial", "null"]);
        if let Some(counter) = counter {
            command.args(["-plugin", &counter.argument(&folder.records())]);
        }
        command.arg("-kernel").arg(image).stdin(Stdio::null());
        let mut emulator = Emulator(command.spawn().context("cannot start the emulator")?);
        let begin = Instant::now();
        let line = loop {
            if let Ok((line, _)) = listener.accept() {
                break line;
            }
            // What it does not like of plugin or image it has said by now.
            if let Some(status) = emulator.0.try_wait().context("cannot wait for the emulator")? {
                let command = workspace::describe(&command);
                bail!("the emulator ended with {status} before its port was open: {command}");
            }
            ensure!(begin.elapsed() < LIMIT, "the emulator did not open its port");
            std::thread::sleep(LOOK);
        };
        line.set_nonblocking(false)
            .and_then(|()| line.set_read_timeout(Some(LIMIT)))
            .context("the port")?;
        let (reader, waiting) = (FrameReader::new(), Vec::new());
        Ok(Self { emulator, line, reader, waiting, folder })
    }

    /// Brings bytes to its port.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.line.write_all(bytes).context("the port")
    }

    /// Its next message.
    pub(crate) fn message(&mut self) -> Result<ToHost> {
        loop {
            let Some(byte) = self.waiting.pop() else {
                let mut buffer = [0; 256];
                let count = self.line.read(&mut buffer).context("no answer of the image")?;
                if count == 0 {
                    bail!("the emulator ended before the image answered");
                }
                self.waiting.extend(buffer[..count].iter().rev());
                continue;
            };
            match message(&mut self.reader, byte) {
                None => {}
                Some(ToHost::Refused(refused)) => {
                    bail!("the image refused a message of the case: {refused:?}")
                }
                Some(message) => return Ok(message),
            }
        }
    }

    /// What the counter has recorded so far: up to the last time that the core went to sleep.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        let path = self.folder.records();
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // A line may be under way.
        records(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
    }

    /// Ends the emulator in order; what the counter recorded of the whole run.
    pub(crate) fn end(mut self) -> Result<Vec<Record>> {
        let monitor =
            UnixStream::connect(self.folder.monitor()).context("the emulator's monitor")?;
        // Open until the end: what came from a client that is gone is not looked at.
        (&monitor).write_all(b"quit\n").context("the emulator's monitor")?;
        let begin = Instant::now();
        while self.emulator.0.try_wait().context("cannot wait for the emulator")?.is_none() {
            ensure!(begin.elapsed() < LIMIT, "the emulator does not end");
            std::thread::sleep(LOOK);
        }
        self.records()
    }
}

/// A slot with a committed policy.
fn slot(policy: &[u8]) -> Result<Vec<u8>> {
    let view = PolicyView::open(policy).map_err(|error| anyhow!("a policy: {error:?}"))?;
    let described = Described::of(&view);
    let mut slot = vec![ERASED; SLOT_BYTES];
    ensure!(policy.len() + TRAILER <= SLOT_BYTES, "the policy is longer than a slot");
    slot[..policy.len()].copy_from_slice(policy);
    slot[SLOT_BYTES - TRAILER..][..RECORD].copy_from_slice(&described.begin_record());
    slot[SLOT_BYTES - TRAILER + RECORD..][..RECORD].copy_from_slice(&described.commit_record());
    Ok(slot)
}

/// A folder that goes with its owner.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("coshift-release-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    fn monitor(&self) -> PathBuf {
        self.0.join("monitor")
    }

    /// Where the counter's records go.
    pub(super) fn records(&self) -> PathBuf {
        self.0.join("records")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Whatever is left lies in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::{Case, CaseId, Shape};
    use coshift_shared::policy::slot::SlotView;

    #[test]
    fn the_slot_is_read_as_committed() {
        let case = Case::new(Shape::Hostile, CaseId { seed: 1, index: 0 }).unwrap();
        let slot = slot(&case.policy).unwrap();
        let policy = SlotView::new(&slot).policy().unwrap();
        assert_eq!(policy.bytes(), case.policy);
    }
}
