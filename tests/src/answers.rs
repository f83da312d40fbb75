//! The twin's promise: the controller compiled for the microcontroller answers every input as the
//! controller compiled for the host does, byte by byte, digests and decisions among them.
//!
//! Random histories are played with the host's node and recorded; the answering image of the
//! reference board (`src/bin/answers.rs` there) gets the same inputs through its memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use coshift_plant::Board;
use coshift_shared::crc32c;
use coshift_shared::policy::PolicyView;
use coshift_shared::units::MAX_APPLICATIONS;
use coshift_tools::plan;

use crate::board::Folder;
use crate::case::Case;
use crate::emulator::psram;
use crate::fuzz::{Input, history};
use crate::random::Random;

/// The image's window: inputs, then answers; `board::Window` of the firmware.
const WINDOW_BYTES: usize = 16 << 20;
const INPUT_BYTES: usize = 12 << 20;
/// States of the image.
const DONE: u32 = 2;
const DAMAGED: u32 = 3;
/// Looks at the window, 20 ms apart, within which it must be done.
const LOOKS: u32 = 60_000;
/// Random bytes that a history is made of: some hundred inputs.
const HISTORY_BYTES: usize = 8_192;
/// Boards whose policies are played.
const BOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../boards");

/// A policy image, and what a controller on it was told and answered.
#[derive(Debug, Clone)]
pub struct History {
    policy: Vec<u8>,
    inputs: Vec<Input>,
}

/// What was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Messages, and garbage, that came in.
    pub messages: u64,
    /// Looks at time without any.
    pub waits: u64,
    /// Decisions in mode Run, with an application.
    pub decisions: u64,
    /// Inputs that were answered differently.
    pub differing: u64,
    /// Of these, those with a decision in the answer.
    pub differing_decisions: u64,
    /// The first of them.
    pub first: Option<String>,
    /// Most bytes of stack that the image used.
    pub stack: u32,
}

/// The policies of all shipped boards, and a small one.
///
/// # Errors
/// A board file is damaged.
pub fn policies() -> Result<Vec<Vec<u8>>> {
    let mut files: Vec<PathBuf> = fs::read_dir(BOARDS)
        .context(BOARDS)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut policies = vec![Case::reference()?.numbered(2, true)?];
    for file in files {
        let board = Board::load(&file)?;
        let networks: Vec<_> = board.network_names().into_iter().take(MAX_APPLICATIONS).collect();
        policies.push(plan::bytes(&plan::policy_image(&board, &networks, 1)?)?);
    }
    Ok(policies)
}

impl History {
    /// A random history of a controller with this policy. The host's controller has `played`
    /// instead where it is given: a controller that is another one.
    ///
    /// # Errors
    /// The policy is none.
    pub fn draw(policy: &[u8], played: Option<&[u8]>, random: &mut Random) -> Result<Self> {
        let bytes: Vec<u8> = (0..HISTORY_BYTES).map(|_| random.byte()).collect();
        let view = PolicyView::open(played.unwrap_or(policy)).context("policy")?;
        Ok(Self { policy: policy.to_vec(), inputs: history(view, &bytes) })
    }

    /// A history that somebody else played.
    #[must_use]
    pub fn recorded(policy: &[u8], inputs: Vec<Input>) -> Self {
        Self { policy: policy.to_vec(), inputs }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        put_word(out, self.policy.len())?;
        put_word(out, self.inputs.len())?;
        put_block(out, &self.policy);
        for input in &self.inputs {
            out.extend(input.local_us.to_le_bytes());
            put_word(out, input.bytes.len())?;
            put_block(out, &input.bytes);
        }
        Ok(())
    }
}

fn put_word(out: &mut Vec<u8>, word: usize) -> Result<()> {
    out.extend(u32::try_from(word)?.to_le_bytes());
    Ok(())
}

/// Bytes, filled up to whole words.
fn put_block(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Plays histories on both until so many messages were compared.
///
/// # Errors
/// The emulator fails; what differs is in what is returned.
pub fn compare(
    qemu: &Path,
    image: &Path,
    messages: u64,
    seed: u64,
    mut draw: impl FnMut(&mut Random) -> Result<History>,
) -> Result<Compared> {
    let mut compared = Compared::default();
    let mut random = Random::new(seed);
    while compared.messages < messages {
        let (mut histories, mut window, mut planned) = (Vec::new(), vec![0; 4], 0);
        loop {
            let drawn = draw(&mut random)?;
            let whole = window.len();
            drawn.write(&mut window)?;
            if window.len() > INPUT_BYTES {
                window.truncate(whole);
                break;
            }
            planned += drawn.inputs.iter().filter(|input| !input.bytes.is_empty()).count() as u64;
            histories.push(drawn);
            if compared.messages + planned >= messages {
                break;
            }
        }
        window[..4].copy_from_slice(&u32::try_from(histories.len())?.to_le_bytes());
        let inputs: Vec<&Input> = histories.iter().flat_map(|history| &history.inputs).collect();
        let answers = answer(qemu, image, window, inputs.len(), &mut compared.stack)?;
        for (input, answer) in inputs.into_iter().zip(answers) {
            let ours = input.frames.iter().fold(crc32c::Running::default(), |mut crc, frame| {
                crc.add(frame);
                crc
            });
            let count =
                if input.bytes.is_empty() { &mut compared.waits } else { &mut compared.messages };
            *count += 1;
            compared.decisions += u64::from(input.decisions);
            if ours.value() != answer {
                compared.differing += 1;
                compared.differing_decisions += u64::from(input.decisions > 0);
                compared.first.get_or_insert_with(|| format!("{input:?}"));
            }
        }
    }
    Ok(compared)
}

/// An emulator that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Runs the image on this window; gives the answer to each input.
fn answer(
    qemu: &Path,
    image: &Path,
    mut window: Vec<u8>,
    inputs: usize,
    stack: &mut u32,
) -> Result<Vec<u32>> {
    let folder = Folder::new("answers")?;
    let path = psram(folder.path());
    window.resize(WINDOW_BYTES, 0);
    fs::write(&path, window).with_context(|| path.display().to_string())?;
    let memory =
        format!("memory-backend-file,id=window,size=16M,mem-path={},share=on", path.display());
    let mut command = Command::new(qemu);
    command.args(["-object", &memory, "-machine", "mps2-an386,memory-backend=window"]);
    command.args(["-cpu", "cortex-m4", "-display", "none", "-monitor", "none", "-serial", "null"]);
    command.arg("-kernel").arg(image).stdin(Stdio::null());
    let mut emulator = Running(command.spawn().context("cannot start the emulator")?);
    let file = File::open(&path)?;
    let word = |at: usize| -> Result<u32> {
        let mut word = [0; 4];
        file.read_exact_at(&mut word, (INPUT_BYTES + 4 * at) as u64)?;
        Ok(u32::from_le_bytes(word))
    };
    let mut looks = 0;
    loop {
        match word(0)? {
            DONE => break,
            DAMAGED => bail!("the image cannot read its inputs"),
            _ => {}
        }
        let ended = emulator.0.try_wait()?;
        ensure!(ended.is_none(), "the emulator ended: {ended:?}");
        looks += 1;
        ensure!(looks < LOOKS, "the image does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    *stack = (*stack).max(word(1)?);
    let mut answers = vec![0; 4 * inputs];
    file.read_exact_at(&mut answers, (INPUT_BYTES + 8) as u64)?;
    Ok(answers.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}
