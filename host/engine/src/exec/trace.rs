//! The maps that a pass leaves, step by step, and the time of each step.

use std::time::{Duration, Instant};

use super::arena::Buffer;
use super::plan::{Feed, Plan, Step};
use super::steps::Pass;
use super::team::Share;
use crate::kernels::blocked::{blocks, unblocked};
use crate::layout::Unit;

/// Runs a pass on the caller's thread alone; gives each step's time, summed over the images.
///
/// # Safety
/// As [`Pass::run`], with the caller's thread alone.
pub(crate) unsafe fn profile(pass: &Pass<'_>) -> Vec<(String, Duration)> {
    let Plan { trunk, head, .. } = pass.plan;
    let mut times: Vec<_> =
        trunk.iter().chain(head).map(|step| (step.to_string(), Duration::ZERO)).collect();
    let timed = |step: &Step, image: usize, time: &mut Duration| {
        let start = Instant::now();
        // SAFETY: the caller's promise; the steps run in their order.
        unsafe { pass.step(step, image, Share::WHOLE) };
        *time += start.elapsed();
    };
    for image in 0..pass.batch {
        for (step, (_, time)) in trunk.iter().zip(&mut times) {
            timed(step, image, time);
        }
    }
    for (step, (_, time)) in head.iter().zip(&mut times[trunk.len()..]) {
        timed(step, 0, time);
    }
    times
}

/// Runs a pass over one image on the caller's thread alone; gives the outputs `[pixels, channels]`
/// of every unit whose map is whole at some time, with the unit's number.
///
/// # Safety
/// As [`Pass::run`], with the caller's thread alone and a batch of one; `units` are those that the
/// pass's plan was made of.
pub(crate) unsafe fn outputs(pass: &Pass<'_>, units: &[Unit]) -> Vec<(usize, Vec<f32>)> {
    let mut found = Vec::new();
    let mut next = 0;
    for step in pass.plan.trunk.iter().chain(&pass.plan.head) {
        // SAFETY: the caller's promise; the steps run in their order.
        unsafe { pass.step(step, 0, Share::WHOLE) };
        let buffer = match *step {
            Step::Stem { to, .. } | Step::Pointwise { to, .. } => to,
            Step::Fused { from, .. } => {
                next += usize::from(!matches!(from, Feed::Map(_)));
                Buffer::Middle
            }
            Step::Excite { .. } => {
                // The depthwise layer's map once more, scaled.
                next -= 1;
                found.pop();
                Buffer::Middle
            }
            Step::Mix { .. } => Buffer::Features,
            Step::Image { .. }
            | Step::Reduce { .. }
            | Step::ExitPool { .. }
            | Step::Exit { .. }
            | Step::Pool { .. }
            | Step::Classify { .. } => {
                continue;
            }
        };
        let unit = &units[next];
        let lanes = blocks(unit.outputs) * unit.out_side() * unit.out_side();
        // SAFETY: the step is of this unit, so it has just written this many lanes, and nobody writes
        // to them now.
        let map = unsafe { std::slice::from_raw_parts(pass.places.of(buffer), lanes) };
        found.push((next, unblocked(map, unit.outputs)));
        next += 1;
    }
    found
}
