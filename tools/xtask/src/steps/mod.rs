//! Instructions of controller steps: the measuring image in the emulator, each instruction
//! taking the same virtual time.

mod cases;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use coshift_shared::kind::Kind;

#[cfg(test)]
pub(crate) use cases::HOSTILE_PERIODS;
pub(crate) use cases::{Case, CaseId, Event, Shape, next_policy, put_block};

use crate::workspace;

/// The window of the board's memory that is a file here; see `board::Window` of the firmware.
const WINDOW_BYTES: usize = 16 << 20;
const INPUT_BYTES: usize = 12 << 20;
/// Most cases in one window.
const CASES_A_RUN: usize = 400;
/// Words of the answer to one message.
const WORDS_A_MESSAGE: usize = 4;
/// States of the measuring image.
const DONE: u32 = 2;
const DAMAGED: u32 = 3;
/// A run that takes longer hangs: 600 hostile cases take seconds.
const LIMIT: Duration = Duration::from_secs(600);
/// `-icount shift=6`: 64 ns an instruction; the core clock of 25 MHz has 40 ns a tick.
const INSTRUCTION_NS: u64 = 64;
const TICK_NS: u64 = 40;

/// One measured step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The case it is of.
    pub(crate) case: CaseId,
    /// What was given.
    pub(crate) kind: Kind,
    /// The cost of its dearest step, the message's own or a slice of the decision that followed,
    /// the call and the reading of the counter among it.
    pub(crate) instructions: u64,
    /// The cost of all of them together.
    pub(crate) altogether: u64,
    /// How many slices followed the message's own step.
    pub(crate) slices: u32,
}

/// Steps of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// In the order they were done.
    pub(crate) steps: Vec<Step>,
}

impl Measured {
    /// The dearest step.
    pub(crate) fn worst(&self) -> Option<Step> {
        self.steps.iter().copied().max_by_key(|step| step.instructions)
    }

    /// The message whose steps take most together.
    pub(crate) fn longest(&self) -> Option<Step> {
        self.steps.iter().copied().max_by_key(|step| step.altogether)
    }

    /// Cost of the dearest control period: of all messages of a case after one telemetry, or the
    /// case's begin, up to and with the next, and of the slices that follow them.
    pub(crate) fn worst_period(&self) -> Option<u64> {
        let mut worst = None;
        let (mut case, mut sum) = (None, 0);
        for step in &self.steps {
            if case.replace(step.case) != Some(step.case) {
                sum = 0;
            }
            sum += step.altogether;
            if step.kind == Kind::Telemetry {
                worst = worst.max(Some(sum));
                sum = 0;
            }
        }
        worst
    }

    /// Mean cost of a control period, rounded up: its outcomes, its telemetry, and all slices.
    pub(crate) fn mean_period(&self) -> Option<u64> {
        let within = |step: &&Step| matches!(step.kind, Kind::Outcomes | Kind::Telemetry);
        let sum: u64 = self.steps.iter().filter(within).map(|step| step.altogether).sum();
        let periods = self.of(Kind::Telemetry).steps.len() as u64;
        (periods > 0).then(|| sum.div_ceil(periods))
    }

    /// The steps of one kind.
    pub(crate) fn of(&self, kind: Kind) -> Self {
        Self { steps: self.steps.iter().copied().filter(|step| step.kind == kind).collect() }
    }

    /// Mean cost of a message and the slices that follow it, rounded up.
    pub(crate) fn mean(&self) -> Option<u64> {
        let sum: u64 = self.steps.iter().map(|step| step.altogether).sum();
        (!self.steps.is_empty()).then(|| sum.div_ceil(self.steps.len() as u64))
    }
}

/// Runs cases on the measuring image, with this bound on the search of one decision.
pub(crate) fn measure(
    emulator: &Path,
    image: &Path,
    shape: Shape,
    ids: &[CaseId],
    effort: u32,
) -> Result<Measured> {
    let mut measured = Measured::default();
    for ids in ids.chunks(CASES_A_RUN) {
        measured.steps.extend(measure_run(emulator, image, shape, ids, effort, None)?.steps);
    }
    Ok(measured)
}

/// The same in one run of the emulator, with this plugin beside the image.
pub(crate) fn measure_run(
    emulator: &Path,
    image: &Path,
    shape: Shape,
    ids: &[CaseId],
    effort: u32,
    plugin: Option<&Plugin>,
) -> Result<Measured> {
    let cases = ids.iter().map(|id| Case::new(shape, *id)).collect::<Result<Vec<_>>>()?;
    let mut input = effort.to_le_bytes().to_vec();
    input.extend(u32::try_from(cases.len())?.to_le_bytes());
    for case in &cases {
        case.write(&mut input)?;
    }
    let kinds: Vec<(CaseId, Kind)> = ids
        .iter()
        .zip(&cases)
        .flat_map(|(id, case)| case.messages.iter().map(|message| (*id, message.kind())))
        .collect();
    let ticks = emulate_with(emulator, image, &input, kinds.len() * WORDS_A_MESSAGE, plugin)?;
    let costs = ticks.as_chunks().0.iter();
    let steps =
        kinds.into_iter().zip(costs).map(|((case, kind), [own, dearest, all, slices])| Step {
            case,
            kind,
            instructions: instructions(*own.max(dearest)),
            altogether: instructions(own.saturating_add(*all)),
            slices: *slices,
        });
    Ok(Measured { steps: steps.collect() })
}

/// A plugin of the emulator.
pub(crate) struct Plugin {
    /// What the emulator is given for it.
    pub(crate) argument: String,
    /// The file that it writes, complete as soon as a line begins with this word.
    pub(crate) records: PathBuf,
    pub(crate) last: &'static str,
}

impl Plugin {
    fn is_complete(&self) -> bool {
        let text = fs::read_to_string(&self.records).unwrap_or_default();
        text.lines().any(|line| line.starts_with(self.last))
    }
}

/// The file behind the window, removed at the end.
struct Window(PathBuf);

impl Drop for Window {
    fn drop(&mut self) {
        // Whatever is left lies in the folder for temporary files.
        let _ = fs::remove_file(&self.0);
    }
}

/// An emulator that ends with its owner.
pub(crate) struct Emulator(pub(crate) Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Instructions that this many ticks of the core clock stand for.
pub(crate) fn instructions(ticks: u32) -> u64 {
    u64::from(ticks) * TICK_NS / INSTRUCTION_NS
}

/// Runs a measuring image on this input; gives so many words of its answer.
pub(crate) fn emulate(
    emulator: &Path,
    image: &Path,
    input: &[u8],
    words: usize,
) -> Result<Vec<u32>> {
    emulate_with(emulator, image, input, words, None)
}

fn emulate_with(
    emulator: &Path,
    image: &Path,
    input: &[u8],
    words: usize,
    plugin: Option<&Plugin>,
) -> Result<Vec<u32>> {
    ensure!(
        input.len() <= INPUT_BYTES,
        "{} bytes of cases: the window has room for {INPUT_BYTES}",
        input.len()
    );
    let path = std::env::temp_dir().join(format!("coshift-steps-{}", std::process::id()));
    let mut bytes = input.to_vec();
    bytes.resize(WINDOW_BYTES, 0);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    let window = Window(path);
    let mut command = Command::new(emulator);
    let memory =
        format!("memory-backend-file,id=window,size=16M,mem-path={},share=on", window.0.display());
    command.args(["-object", &memory, "-machine", "mps2-an386,memory-backend=window"]);
    command.args(["-cpu", "cortex-m4", "-display", "none", "-monitor", "none"]);
    command.args(["-serial", "null", "-icount", "shift=6,sleep=off"]);
    if let Some(plugin) = plugin {
        command.args(["-plugin", &plugin.argument]);
    }
    command.arg("-kernel").arg(image).stdin(Stdio::null());
    eprintln!("$ {}", workspace::describe(&command));
    let mut emulator = Emulator(command.spawn().context("cannot start the emulator")?);
    let file =
        File::open(&window.0).with_context(|| format!("cannot read {}", window.0.display()))?;
    let begin = Instant::now();
    loop {
        let mut state = [0; 4];
        file.read_exact_at(&mut state, INPUT_BYTES as u64).context("cannot read the window")?;
        match u32::from_le_bytes(state) {
            DONE if plugin.is_none_or(Plugin::is_complete) => break,
            DAMAGED => bail!("the measuring image cannot read its cases"),
            _ if begin.elapsed() > LIMIT => bail!("no result within {} s", LIMIT.as_secs()),
            _ => {}
        }
        if let Some(status) = emulator.0.try_wait().context("cannot wait for the emulator")? {
            bail!("the emulator ended with {status} before all was measured");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // After the state and the use of the stack.
    let mut costs = vec![0; words * 4];
    file.read_exact_at(&mut costs, INPUT_BYTES as u64 + 8).context("cannot read the window")?;
    Ok(costs.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_rounded_up_and_kinds_told_apart() {
        let case = CaseId { seed: 0, index: 0 };
        let step = |kind, altogether| Step { case, kind, instructions: 1, altogether, slices: 0 };
        let steps =
            vec![step(Kind::Telemetry, 3), step(Kind::Outcomes, 9), step(Kind::Telemetry, 4)];
        let measured = Measured { steps };
        assert_eq!(measured.longest().unwrap().altogether, 9);
        assert_eq!(measured.of(Kind::Telemetry).mean(), Some(4));
        assert_eq!(measured.of(Kind::Hello).mean(), None);
        assert_eq!(measured.mean_period(), Some(8));
        assert_eq!(measured.of(Kind::Outcomes).mean_period(), None);
    }

    #[test]
    fn a_period_ends_with_its_telemetry_or_its_case() {
        let step = |index, kind, altogether| Step {
            case: CaseId { seed: 0, index },
            kind,
            instructions: 1,
            altogether,
            slices: 0,
        };
        let steps = vec![
            step(0, Kind::Outcomes, 5),
            step(0, Kind::Telemetry, 3),
            step(0, Kind::Outcomes, 2),
            step(0, Kind::Outcomes, 2),
            step(0, Kind::Telemetry, 5),
            step(0, Kind::Outcomes, 100),
            step(1, Kind::Telemetry, 1),
        ];
        assert_eq!(Measured { steps }.worst_period(), Some(9));
        assert_eq!(Measured::default().worst_period(), None);
    }
}
