//! What a pass leaves, step by step, and the time of each step.

use std::time::{Duration, Instant};

use super::arena::Buffer;
use super::plan::{Plan, Step};
use super::steps::Pass;
use super::team::Share;
use crate::intermediate::Intermediate;
use crate::kernels::blocked::{Lanes, blocks, unblocked};
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

/// Runs a pass over one image on the caller's thread alone; gives what each step leaves, as
/// `[pixels, channels]`. A layer before a depthwise convolution, whose map is never whole, runs once more
/// by itself. Early exits are left out.
///
/// # Safety
/// As [`Pass::run`], with the caller's thread alone and a batch of one; `units` are those that the
/// pass's plan was made of.
pub(crate) unsafe fn intermediates(
    pass: &Pass<'_>,
    units: &[Unit],
) -> Vec<(Intermediate, Vec<f32>)> {
    let mut found = Vec::new();
    let mut next = 0;
    for step in pass.plan.trunk.iter().chain(&pass.plan.head) {
        // SAFETY: the caller's promise; the steps run in their order.
        unsafe { pass.step(step, 0, Share::WHOLE) };
        let mut keep = |what: Intermediate, from: Left| {
            let channels = what.channels(units, pass.early.classes);
            let lanes = blocks(channels) * what.pixels(units);
            let map = match &from {
                // SAFETY: the step has just written this many lanes, and nobody writes to them now.
                Left::Buffer(buffer) => unsafe {
                    std::slice::from_raw_parts(pass.places.of(*buffer), lanes)
                },
                Left::Apart(map) => map,
            };
            found.push((what, unblocked(map, channels)));
        };
        match *step {
            Step::Stem { to, .. } | Step::Pointwise { to, .. } => {
                keep(Intermediate::Map(next), Left::Buffer(to));
                next += 1;
            }
            Step::Fused { from, blocks, side, means, .. } => {
                // SAFETY: the caller's promise; a step does not write to what it reads.
                if let Some(map) = unsafe { pass.before(from, blocks, side) } {
                    keep(Intermediate::Map(next), Left::Apart(map));
                    next += 1;
                }
                keep(Intermediate::Map(next), Left::Buffer(Buffer::Middle));
                if means {
                    keep(Intermediate::Means(next), Left::Buffer(Buffer::Means));
                }
                next += 1;
            }
            Step::Reduce { .. } => {
                keep(Intermediate::Squeezed(next - 1), Left::Buffer(Buffer::Squeezed));
            }
            Step::Excite { .. } => {
                keep(Intermediate::Gates(next - 1), Left::Buffer(Buffer::Gates));
                keep(Intermediate::Scaled(next - 1), Left::Buffer(Buffer::Middle));
            }
            Step::Pool { .. } => keep(Intermediate::Pooled, Left::Buffer(Buffer::Pooled)),
            Step::Mix { .. } => {
                keep(Intermediate::Map(next), Left::Buffer(Buffer::Features));
                next += 1;
            }
            Step::Classify { .. } => keep(Intermediate::Logits, Left::Buffer(Buffer::Logits)),
            Step::Image { .. } | Step::ExitPool { .. } | Step::Exit { .. } => {}
        }
    }
    found
}

/// Where what a step leaves is found.
enum Left {
    Buffer(Buffer),
    Apart(Vec<Lanes>),
}
