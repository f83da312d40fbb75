//! That the counter counts right, and that what is wrong does not go unnoticed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use coshift_controller::controller::SEARCH;

use super::board::Folder;
use super::counter::{self, Counter, Record, records};
use super::{Bench, DIFFERS, agree};
use crate::board;
use crate::budgets::{WORST_CASES, WORST_PERIODS};
use crate::firmware::{self, Image, Program};
use crate::policy;
use crate::sizes;
use crate::steps::{self, Plugin, Shape};
use crate::tally::Tally;
use crate::workspace::Workspace;

/// Most instructions that the measuring image takes for a step beside the function that is counted: the
/// call, and the readings of the clock.
const AROUND: u64 = 16;
/// By how much figures in virtual time may be off: a tick of the clock is more than half an instruction.
const ROUNDING: u64 = 2;

/// Every check, each counted as one.
pub(crate) fn all(workspace: &Workspace, yes: bool, tally: &mut Tally) {
    let (measuring, release) = match benches(workspace, yes) {
        Ok(benches) => benches,
        Err(error) => return tally.check("the counter of instructions", Err(error)),
    };
    let counter = Counter::of_steps(workspace, &measuring.image);
    let exact = counter
        .and_then(|counter| counter_is_exact(&measuring.emulator, &measuring.image, &counter));
    tally.check("the counter of instructions agrees with virtual time", exact);
    tally.check("a case counted twice has the same figures", repeats(&release));
    tally.check("an image that decides otherwise is not measured", refuses_others(&release));
    let deaf = Bench { counter: release.counter.without_handlers(), ..release };
    tally.check("a counter that knows no interrupts is noticed", notices(&deaf, &measuring));
}

fn benches(workspace: &Workspace, yes: bool) -> Result<(sizes::Bench, Bench)> {
    let board = board::MPS2_AN386;
    let measuring = sizes::Bench::new(workspace, board, yes)?;
    let image = Image { board, program: Program::Firmware, development: false };
    let policy = policy::image(workspace, None)?;
    let image = image.build(workspace, &firmware::toolchain(yes)?, &policy)?;
    let counter = Counter::of_release(workspace, &image)?;
    let release = Bench { emulator: measuring.emulator.clone(), image, counter };
    Ok((measuring, release))
}

/// The counter against virtual time: the image that measures steps, run with one instruction a tick and
/// the counter beside it. Both have to see the same in every step, but for a constant.
fn counter_is_exact(emulator: &Path, image: &Path, counter: &Counter) -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.records();
    // The image sleeps when it has measured everything.
    let plugin = Plugin { argument: counter.argument(&path), records: path, last: "wake" };
    let shape = Shape::Hostile;
    let timed = steps::measure_run(emulator, image, shape, WORST_CASES, SEARCH, Some(&plugin))?;
    let text = fs::read_to_string(&plugin.records).context("the counter's records")?;
    let mut counted = records(&text)?.into_iter().filter_map(|record| match record {
        Record::Call { name, own, .. } if name == counter::STEP => Some(own),
        _ => None,
    });
    // A message's own step and a slice are called in places of their own.
    let mut around = [Vec::new(), Vec::new()];
    for step in &timed.steps {
        let calls = 1 + usize::try_from(step.slices)?;
        let calls: Vec<_> = counted.by_ref().take(calls).collect();
        let dearest = calls.iter().copied().max().context("a step was not counted")?;
        let beside = step.instructions.checked_sub(dearest);
        let place = usize::from(calls.first() != Some(&dearest));
        around[place].push(beside.with_context(|| format!("{dearest} counted of {step:?}"))?);
    }
    ensure!(counted.next().is_none(), "more steps were counted than timed");
    for (what, around) in ["messages", "slices"].into_iter().zip(around) {
        let least =
            around.iter().copied().min().with_context(|| format!("no {what} were timed"))?;
        let most = around.iter().copied().max().unwrap_or(least);
        ensure!(
            most <= AROUND && most - least <= ROUNDING,
            "in virtual time {what} take {least} to {most} instructions more than is counted"
        );
    }
    Ok(())
}

/// Bytes come when the host has time for them; no figure depends on it.
fn repeats(release: &Bench) -> Result<()> {
    for id in WORST_PERIODS {
        let (once, again) =
            (release.play(Shape::Hostile, *id)?, release.play(Shape::Hostile, *id)?);
        let same = once.measured == again.measured
            && once.periods == again.periods
            && (once.reading, once.writing) == (again.reading, again.writing);
        ensure!(same, "first {once:?}, then {again:?}");
    }
    Ok(())
}

/// An image that runs on another policy decides otherwise than the host, and no figure of it is given:
/// at once, as a run that is repeated for another reason ends with another error.
fn refuses_others(release: &Bench) -> Result<()> {
    let [one, other, ..] = WORST_CASES else { bail!("no two cases are named") };
    let Err(error) = release.play_on_policy_of(*other, *one) else {
        bail!("an image on another policy was measured")
    };
    let why = format!("{error:#}");
    ensure!(why.contains(DIFFERS), "it was refused for another reason: {why}");
    Ok(())
}

/// A counter that is not told of the exception handlers takes them for the program: the steps they
/// interrupt are dearer then than on the measuring image, where nothing interrupts.
fn notices(deaf: &Bench, measuring: &sizes::Bench) -> Result<()> {
    for id in WORST_CASES {
        let played = deaf.play(Shape::Hostile, *id)?;
        let expected = measuring.measure(Shape::Hostile, &[*id])?;
        if agree(&played.measured, &expected).is_err() {
            return Ok(());
        }
    }
    bail!("the interrupts of {} cases were counted as steps", WORST_CASES.len())
}
