//! The stack that the release image uses under a case: the image as it is, with the case's policy
//! in its store and the case's frames on its port.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::policy::slot::{Described, ERASED, RECORD, TRAILER};
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::session::Sender;
use coshift_shared::to_controller::{Query, Question, ToController};
use coshift_shared::to_host::{Status, ToHost};

use super::{SESSION, exchanged};
use crate::steps::{Case, CaseId, Emulator, Shape};
use crate::workspace;

/// Bytes of a slot of the board's policy store, which begins where the file does.
const SLOT_BYTES: usize = 20 * 1024;
const MEMORY_BYTES: usize = 16 << 20;
/// The image looks at its stack every 64 passes; each question takes one at least.
const QUESTIONS: u32 = 80;
/// An image that is silent for so long hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Most bytes of stack in use while the image served a case.
pub(crate) fn stack_high_water(emulator: &Path, image: &Path, id: CaseId) -> Result<u64> {
    let case = Case::new(Shape::Hostile, id)?;
    let folder = Folder::new()?;
    let memory = folder.0.join("memory");
    let mut bytes = slot(&case.policy)?;
    bytes.resize(MEMORY_BYTES, 0);
    fs::write(&memory, bytes).with_context(|| format!("cannot write {}", memory.display()))?;
    let port = folder.0.join("port");
    let listener = UnixListener::bind(&port).context("cannot open a socket")?;
    let mut command = Command::new(emulator);
    let memory =
        format!("memory-backend-file,id=memory,size=16M,mem-path={},share=on", memory.display());
    command.args(["-object", &memory, "-machine", "mps2-an386,memory-backend=memory"]);
    command.args(["-cpu", "cortex-m4", "-display", "none", "-monitor", "none"]);
    command.args(["-chardev", &format!("socket,id=port,path={}", port.display())]);
    command.args(["-serial", "chardev:port", "-serial", "null"]);
    command.arg("-kernel").arg(image).stdin(Stdio::null());
    eprintln!("$ {}", workspace::describe(&command));
    let _emulator = Emulator(command.spawn().context("cannot start the emulator")?);
    let (mut line, _) = listener.accept().context("the emulator did not open its port")?;
    line.set_read_timeout(Some(LIMIT)).context("the port")?;

    let (setup, periods) = exchanged(&case.messages)?;
    let mut answers = Answers { reader: FrameReader::new(), waiting: Vec::new() };
    line.write_all(&setup).context("the port")?;
    for period in &periods {
        line.write_all(period).context("the port")?;
        // Each telemetry is answered by a decision.
        while !matches!(answers.next(&mut line)?, ToHost::Decision(_)) {}
    }
    // Numbered behind all frames of the case.
    let mut sender = Sender::default();
    sender.open(SESSION);
    let mut most = 0;
    let last = case.messages.last().map_or(0, ToController::at_us);
    let question = ToController::Query(Query { at_us: last, what: Question::Work });
    for number in 0..QUESTIONS + case.messages.len() as u32 + 1 {
        let (_, frame) =
            sender.to_controller(&question).map_err(|error| anyhow!("a message: {error}"))?;
        if number <= case.messages.len() as u32 {
            continue;
        }
        line.write_all(frame.bytes()).context("the port")?;
        loop {
            if let ToHost::Status(Status::Work(work)) = answers.next(&mut line)? {
                most = most.max(u64::from(work.stack_high_water));
                break;
            }
        }
    }
    ensure!(most > 0, "the image never looked at its stack");
    Ok(most)
}

/// Messages from the image.
struct Answers {
    reader: FrameReader,
    /// Bytes read and not taken in, last first.
    waiting: Vec<u8>,
}

impl Answers {
    fn next(&mut self, line: &mut impl Read) -> Result<ToHost> {
        loop {
            let Some(byte) = self.waiting.pop() else {
                let mut buffer = [0; 256];
                let count = line.read(&mut buffer).context("no answer of the image")?;
                if count == 0 {
                    bail!("the emulator ended before the image answered");
                }
                self.waiting.extend(buffer[..count].iter().rev());
                continue;
            };
            if let Received::Packet(header, body) = self.reader.feed(byte)
                && let Some(kind) = Kind::from_byte(header.kind)
                && let Ok(message) = ToHost::decode(kind, body)
            {
                if let ToHost::Refused(refused) = message {
                    bail!("the image refused a message of the case: {refused:?}");
                }
                return Ok(message);
            }
        }
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
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("coshift-stack-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
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
    use coshift_shared::policy::slot::SlotView;

    #[test]
    fn the_slot_is_read_as_committed() {
        let case = Case::new(Shape::Hostile, CaseId { seed: 1, index: 0 }).unwrap();
        let slot = slot(&case.policy).unwrap();
        let policy = SlotView::new(&slot).policy().unwrap();
        assert_eq!(policy.bytes(), case.policy);
    }
}
