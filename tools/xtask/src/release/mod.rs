//! Instructions and stack of the release image as it is: cases played to its port, counted by the
//! emulator's plugin. It must decide what the host's controller decides, or the figure would be of
//! something else.

mod board;
mod checks;
mod counter;
mod expected;
mod figures;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};
use coshift_shared::kind::Kind;
use coshift_shared::session::Sender;
use coshift_shared::to_controller::{Query, Question, ToController};
use coshift_shared::to_host::{Decision, Mode, Reason, Status, ToHost};

use crate::steps::{Case, CaseId, Measured, Shape, Step};
use crate::wire::{PeriodCost, SESSION, exchanged, opening};
use board::Board;
use counter::Record;

pub(crate) use checks::all as check_counter;
pub(crate) use counter::Counter;
pub(crate) use figures::Figures;

/// The image looks at its stack every 64 passes; each question takes one at least.
const STACK_QUESTIONS: u32 = 80;
/// An image whose clock runs while its host keeps it waiting hears silence, which is another input, and
/// says so: such a run is repeated, so often at most. Nothing else is.
const ATTEMPTS: u32 = 5;
/// Place of the port's receive interrupt in the vector table.
const RECEIVE: u32 = 16;
/// How the error about an image that decides otherwise begins.
const DIFFERS: &str = "the image decides otherwise than the host's controller";
/// Most instructions by which a step differs between the release image and the measuring one: they are
/// compiled apart, and the latter's figure has the call and the reading of a clock in it.
const STEP_DIFFERENCE: u64 = 32;
/// By how many instructions a control period of the measuring image takes longer, for each byte before
/// the last of a frame: there these are counted, here they are the loop's. A byte takes 13 and more; what
/// the loop takes here for each slice of a decision is taken off that.
const BYTE_DIFFERENCE: std::ops::RangeInclusive<u64> = 10..=20;

/// The release image and what it is run with.
pub(crate) struct Bench {
    /// The emulator.
    pub(crate) emulator: PathBuf,
    /// The image.
    pub(crate) image: PathBuf,
    /// The plugin.
    pub(crate) counter: Counter,
}

/// What a case took of the image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Played {
    /// Steps of each message.
    pub(crate) measured: Measured,
    /// Instructions of each control period: its frames from their last byte on, its steps and the
    /// frames written. Without the port's queues, and what the loop does for each byte and each pass.
    pub(crate) periods: Vec<u64>,
    /// The dearest frame that was read, from its last byte on: without its step and what that sends.
    pub(crate) reading: u64,
    /// The dearest message written, alone.
    pub(crate) writing: u64,
    /// What the loop most often does for a byte that comes alone and ends no frame, from one sleep to
    /// the next. It depends on how bytes come.
    pub(crate) lone_byte: Option<u64>,
}

impl Bench {
    /// Plays a case.
    ///
    /// # Errors
    /// Where the image decides otherwise than the host's controller, the emulator fails or its
    /// records do not fit the case.
    pub(crate) fn play(&self, shape: Shape, id: CaseId) -> Result<Played> {
        let case = Case::new(shape, id)?;
        self.count(&case, id, &case.policy)
    }

    /// Plays a hostile case to an image that runs on the policy of another: it has to fail.
    fn play_on_policy_of(&self, other: CaseId, id: CaseId) -> Result<Played> {
        let (case, other) = (Case::new(Shape::Hostile, id)?, Case::new(Shape::Hostile, other)?);
        self.count(&case, id, &other.policy)
    }

    /// Most bytes of stack that the image uses in a hostile case. Without the counter: it slows the core
    /// down, not the bytes that interrupt it.
    ///
    /// # Errors
    /// As [`Self::play`].
    pub(crate) fn stack_high_water(&self, id: CaseId) -> Result<u64> {
        let case = Case::new(Shape::Hostile, id)?;
        let most = self.attempt(&case, id, &case.policy, None, |mut board| {
            ask(&mut board, &case, STACK_QUESTIONS)
        })?;
        ensure!(most > 0, "the image never looked at its stack");
        Ok(most)
    }

    fn count(&self, case: &Case, id: CaseId, policy: &[u8]) -> Result<Played> {
        self.attempt(case, id, policy, Some(&self.counter), |mut board| {
            // Its answer shows that all is done that the case made due.
            ask(&mut board, case, 1)?;
            costs(&board.end()?, case, id)
        })
    }

    /// Plays a case, again where the image heard silence; gives what is found where it decides as the
    /// host does.
    fn attempt<T>(
        &self,
        case: &Case,
        id: CaseId,
        policy: &[u8],
        counter: Option<&Counter>,
        find: impl Fn(Board) -> Result<T>,
    ) -> Result<T> {
        let (setup, periods) = exchanged(&case.messages)?;
        let exchanges = [vec![setup], periods].concat();
        let expected = expected::decisions(&case.policy, &exchanges)?;
        let CaseId { seed, index } = id;
        repeated(|| {
            let mut board = Board::boot(&self.emulator, &self.image, counter, policy)?;
            Ok(match decides(&mut board, &exchanges, &expected)? {
                None => Ok(find(board)?),
                Some(difference) => Err(difference),
            })
        })
        .with_context(|| format!("seed {seed} index {index}"))
    }
}

/// Runs until the image heard no silence in one.
///
/// # Errors
/// A run's own, the first decision that is another than the host's, or silence in all [`ATTEMPTS`].
fn repeated<T>(mut run: impl FnMut() -> Result<Result<T, Difference>>) -> Result<T> {
    for _ in 0..ATTEMPTS {
        match run()? {
            Ok(found) => return Ok(found),
            Err(difference) if difference.is_silence() => {}
            Err(Difference { expected, decided }) => {
                bail!("{DIFFERS}: {decided:?} instead of {expected:?}")
            }
        }
    }
    bail!(
        "the image heard silence in each of {ATTEMPTS} runs: this host is too busy to play a case"
    )
}

/// Brings exchanges to a board. Gives where it decides otherwise than expected.
fn decides(
    board: &mut Board,
    exchanges: &[Vec<u8>],
    expected: &[Vec<Decision>],
) -> Result<Option<Difference>> {
    for (bytes, expected) in exchanges.iter().zip(expected) {
        board.send(bytes)?;
        for expected in expected {
            let decided = decision(board)?;
            if decided != *expected {
                return Ok(Some(Difference { expected: *expected, decided }));
            }
        }
    }
    Ok(None)
}

/// Steps of the release image against those of the same cases on the measuring image, which are
/// compiled apart: the same slices, and hardly another cost.
///
/// # Errors
/// The first step that differs by more than [`STEP_DIFFERENCE`].
pub(crate) fn agree(release: &Measured, measuring: &Measured) -> Result<()> {
    let (ours, theirs) = (release.steps.len(), measuring.steps.len());
    ensure!(ours == theirs, "{ours} steps in the release image, {theirs} in the measuring one");
    for (ours, theirs) in release.steps.iter().zip(&measuring.steps) {
        let steps = 1 + u64::from(ours.slices);
        let same = (ours.case, ours.kind, ours.slices) == (theirs.case, theirs.kind, theirs.slices)
            && ours.instructions.abs_diff(theirs.instructions) <= STEP_DIFFERENCE
            && ours.altogether.abs_diff(theirs.altogether) <= STEP_DIFFERENCE * steps;
        ensure!(same, "the release image took {ours:?}, the measuring one {theirs:?}");
    }
    Ok(())
}

/// A case's control periods on the release image against those on the measuring image.
///
/// # Errors
/// The first one that is not by [`BYTE_DIFFERENCE`] a byte below.
pub(crate) fn periods_agree(release: &[u64], measuring: &[PeriodCost]) -> Result<()> {
    let (ours, theirs) = (release.len(), measuring.len());
    ensure!(ours == theirs, "{ours} periods in the release image, {theirs} in the measuring one");
    for (ours, theirs) in release.iter().zip(measuring) {
        let below = theirs.instructions.checked_sub(*ours);
        let least = BYTE_DIFFERENCE.start() * theirs.inner_bytes;
        let most = BYTE_DIFFERENCE.end() * theirs.inner_bytes;
        ensure!(
            below.is_some_and(|below| (least..=most).contains(&below)),
            "a period took {ours} instructions in the release image, in the measuring one {theirs:?}"
        );
    }
    Ok(())
}

/// Two decisions that should be one.
#[derive(Debug)]
struct Difference {
    expected: Decision,
    decided: Decision,
}

impl Difference {
    /// Whether the image decided because it heard nothing, where the host's controller was told something.
    fn is_silence(&self) -> bool {
        // Before anything was decided it has no reason of its own.
        let silence = |decision: &Decision| {
            decision.mode == Mode::Hold
                || matches!(decision.reason, Reason::StaleTelemetry | Reason::AgentSilent)
        };
        silence(&self.decided) && !silence(&self.expected)
    }
}

fn decision(board: &mut Board) -> Result<Decision> {
    loop {
        if let Some(decision) = expected::decision(&board.message()?) {
            return Ok(decision);
        }
    }
}

/// Asks the image so often for its counters, the first answer being the proof that it has done all
/// that the case made due. Gives the most bytes of stack that it told of: 0 before it has looked.
fn ask(board: &mut Board, case: &Case, questions: u32) -> Result<u64> {
    // Numbered behind all frames of the case, of which a Hello was the first.
    let mut sender = Sender::default();
    sender.open(SESSION);
    let mut most = 0;
    let last = case.messages.last().map_or(0, ToController::at_us);
    let question = ToController::Query(Query { at_us: last, what: Question::Work });
    let played = u32::try_from(case.messages.len())? + 1;
    for number in 0..played + questions {
        let (_, frame) =
            sender.to_controller(&question).map_err(|error| anyhow!("a message: {error}"))?;
        if number < played {
            continue;
        }
        board.send(frame.bytes())?;
        loop {
            if let ToHost::Status(Status::Work(work)) = board.message()? {
                most = most.max(u64::from(work.stack_high_water));
                break;
            }
        }
    }
    Ok(most)
}

/// What the records say of a case's messages.
fn costs(records: &[Record], case: &Case, id: CaseId) -> Result<Played> {
    let mut frames = FrameCosts::of(records)?.into_iter();
    // The Hello is none of the case's messages, and makes no step.
    let hello = frames.next().context("no frame was read")?;
    ensure!(hello.step.is_none(), "the Hello made a step");
    let mut played = Played { lone_byte: lone_byte(records), ..Played::default() };
    let mut period = 0;
    let before = opening(&case.messages);
    for (place, message) in case.messages.iter().enumerate() {
        let kind = message.kind();
        let frame = frames.next().with_context(|| format!("no frame of {kind:?} was read"))?;
        let own = frame.step.with_context(|| format!("no step was made of {kind:?}"))?;
        let dearest = frame.slices.iter().copied().max().unwrap_or(0);
        let all: u64 = frame.slices.iter().sum();
        played.measured.steps.push(Step {
            case: id,
            kind,
            instructions: own.max(dearest),
            altogether: own + all,
            slices: u32::try_from(frame.slices.len())?,
        });
        played.reading = played.reading.max(frame.reading);
        played.writing = played.writing.max(frame.writing);
        // What sets the session up is before the first period.
        if place >= before {
            period += frame.whole;
        }
        if kind == Kind::Telemetry {
            played.periods.push(std::mem::take(&mut period));
        }
    }
    Ok(played)
}

/// The least that a wake takes that the receive interrupt alone began, and in which nothing counted was
/// called: on a busy host bytes come together, and a wake takes in several.
fn lone_byte(records: &[Record]) -> Option<u64> {
    let mut least: Option<u64> = None;
    let mut called = false;
    for record in records {
        match record {
            Record::Wake { own, handlers } => {
                if !std::mem::take(&mut called) && *handlers == [RECEIVE] {
                    least = Some(least.map_or(*own, |least| least.min(*own)));
                }
            }
            Record::Call { .. } => called = true,
            Record::Boot => {}
        }
    }
    least
}

/// What one frame took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FrameCosts {
    /// Its step.
    step: Option<u64>,
    /// Those that followed it until the next frame was read.
    slices: Vec<u64>,
    /// From its last byte on, with all that followed it.
    whole: u64,
    /// From its last byte on, without its step and what that sent.
    reading: u64,
    /// The dearest sending of one message.
    writing: u64,
}

impl FrameCosts {
    /// Of each frame that the board read since it booted last.
    fn of(records: &[Record]) -> Result<Vec<Self>> {
        let (mut frames, mut open) = (Vec::<Self>::new(), Self::default());
        // Instructions of what the open frame called, and of the port's queue in it and in the open
        // sending: the queue is part of no figure.
        let (mut within, mut queue, mut queue_of_sending) = (0, 0, 0);
        // Messages of the open sending.
        let mut messages = 0;
        for record in records {
            let Record::Call { name, own, outer } = record else {
                if *record == Record::Boot {
                    (frames, open) = (Vec::new(), Self::default());
                    (within, queue, queue_of_sending, messages) = (0, 0, 0, 0);
                }
                continue;
            };
            match (name.as_str(), outer.as_deref()) {
                (counter::CLOSE, None) => {
                    open.whole = own.checked_sub(queue).context("more queued than done")?;
                    open.reading = own.checked_sub(within).context("a frame within a frame")?;
                    (within, queue) = (0, 0);
                    frames.push(std::mem::take(&mut open));
                }
                // Within the frame, whose own end comes next.
                (counter::STEP, Some(counter::CLOSE)) => {
                    let twice = open.step.replace(*own).is_some();
                    ensure!(!twice, "two steps of one frame");
                    within += own;
                }
                (counter::SEND | counter::SEND_ALL, Some(counter::CLOSE)) => {
                    if std::mem::take(&mut messages) == 1 {
                        open.writing = open.writing.max(own - queue_of_sending);
                    }
                    within += own;
                    queue += std::mem::take(&mut queue_of_sending);
                }
                (counter::QUEUE, Some(counter::SEND | counter::SEND_ALL)) => {
                    queue_of_sending += own;
                    messages += 1;
                }
                (counter::QUEUE, Some(counter::CLOSE)) => {
                    within += own;
                    queue += own;
                }
                (name, None) => {
                    let own = own - std::mem::take(&mut queue_of_sending);
                    let messages = std::mem::take(&mut messages);
                    // Without a session the board announces itself.
                    let Some(frame) = frames.last_mut() else { continue };
                    frame.whole += own;
                    if name == counter::STEP {
                        frame.slices.push(own);
                    } else if messages == 1 {
                        frame.writing = frame.writing.max(own);
                    }
                }
                (name, Some(outer)) => bail!("{name} was called from {outer}"),
            }
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, own: u64, outer: &str) -> Record {
        let outer = (!outer.is_empty()).then(|| outer.to_owned());
        Record::Call { name: name.to_owned(), own, outer }
    }

    #[test]
    fn what_follows_a_frame_is_its_own_until_the_next_one_is_read() {
        let records = [
            call("send", 5, ""),
            call("close", 7, ""),
            Record::Boot,
            call("queue", 2, "send"),
            call("send", 5, ""),
            call("queue", 7, "send"),
            call("send", 20, "close"),
            call("close", 30, ""),
            Record::Wake { own: 1000, handlers: vec![16] },
            call("step", 100, "close"),
            call("send_all", 3, "close"),
            call("close", 120, ""),
            call("step", 200, ""),
            call("queue", 4, "send_all"),
            call("queue", 4, "send_all"),
            call("send_all", 13, ""),
            call("step", 300, ""),
            call("queue", 4, "send_all"),
            call("send_all", 9, ""),
        ];
        let hello =
            FrameCosts { step: None, slices: Vec::new(), whole: 23, reading: 10, writing: 13 };
        let frame = FrameCosts {
            step: Some(100),
            slices: vec![200, 300],
            whole: 630,
            reading: 17,
            writing: 5,
        };
        assert_eq!(FrameCosts::of(&records).unwrap(), [hello, frame]);
    }

    /// What the host's controller decides first in a case, and the same for another reason.
    fn decided(reason: Reason) -> Difference {
        let case = Case::new(Shape::Hostile, CaseId { seed: 1, index: 803 }).unwrap();
        let (setup, periods) = exchanged(&case.messages).unwrap();
        let exchanges = [vec![setup], periods].concat();
        let decisions = expected::decisions(&case.policy, &exchanges).unwrap();
        let expected = decisions[1][0];
        Difference { expected, decided: Decision { reason, ..expected } }
    }

    #[test]
    fn a_wrong_decision_is_never_tried_again() {
        let silent = decided(Reason::StaleTelemetry);
        let level = Difference {
            decided: Decision { run_level: silent.expected.run_level ^ 1, ..silent.expected },
            ..silent
        };
        for wrong in [level, decided(Reason::Keep), decided(Reason::TooHot)] {
            let mut runs = 0;
            // Right the next time: an image that is wrong now and then.
            let found = repeated(|| {
                runs += 1;
                let Difference { expected, decided } = wrong;
                Ok(if runs == 1 { Err(Difference { expected, decided }) } else { Ok(()) })
            });
            let why = format!("{:#}", found.expect_err("it was taken for right"));
            assert!(why.contains(DIFFERS) && runs == 1, "{runs} runs: {why}");
        }
    }

    #[test]
    fn a_run_in_which_the_image_heard_silence_is_repeated_a_few_times() {
        for reason in [Reason::StaleTelemetry, Reason::AgentSilent] {
            for silences in [1, ATTEMPTS - 1, ATTEMPTS] {
                let mut runs = 0;
                let found = repeated(|| {
                    runs += 1;
                    Ok(if runs <= silences { Err(decided(reason)) } else { Ok(()) })
                });
                assert_eq!(found.is_ok(), silences < ATTEMPTS, "{found:?}");
                assert_eq!(runs, ATTEMPTS.min(silences + 1));
            }
        }
    }

    #[test]
    fn a_lone_byte_is_a_wake_by_the_port_without_a_call() {
        let wake = |own, handlers: &[u32]| Record::Wake { own, handlers: handlers.to_vec() };
        let records = [
            wake(50, &[15]),
            wake(500, &[16]),
            call("close", 7, ""),
            wake(900, &[16]),
            wake(586, &[16]),
            wake(500, &[16]),
            wake(900, &[16, 17]),
            wake(900, &[16, 17]),
            wake(900, &[16, 17]),
        ];
        assert_eq!(lone_byte(&records), Some(500));
        assert_eq!(lone_byte(&records[2..4]), None);
    }

    #[test]
    fn records_that_are_no_run_of_the_image_are_refused() {
        for records in [
            vec![call("step", 1, "step")],
            vec![call("step", 1, "close"), call("step", 1, "close"), call("close", 3, "")],
        ] {
            assert!(FrameCosts::of(&records).is_err(), "{records:?}");
        }
    }
}
