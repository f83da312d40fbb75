//! Layers on single vectors: squeeze-excite, the layers after pooling.

use super::isa::kernel;
use super::vector::Vector;
use super::{LANES, Lanes};
use crate::family::Activation;

/// What happens to the sums.
#[derive(Debug, Clone, Copy)]
pub(crate) enum After {
    /// An activation.
    Activation(Option<Activation>),
    /// h-sigmoid.
    Gate,
}

/// `y = after(W·x + bias)` for some blocks of outputs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gemv {
    /// Channels one after the other.
    pub(crate) x: *const Lanes,
    pub(crate) inputs: usize,
    /// Panels `[blocks][row]`, `row ≥ inputs`.
    pub(crate) weight: *const Lanes,
    pub(crate) row: usize,
    pub(crate) blocks: usize,
    /// `[blocks]`, or null.
    pub(crate) bias: *const Lanes,
    pub(crate) after: After,
    pub(crate) y: *mut Lanes,
}

kernel! {
    /// Runs it.
    ///
    /// # Safety
    /// Every place that the description names must be valid, and nothing else may use the written
    /// ones meanwhile.
    unsafe fn gemv(Gemv) = run
}

/// Independent sums a block: a weight is read once, so the sums only have to hide the latency of
/// an addition.
const SUMS: usize = 8;

#[inline(always)]
unsafe fn run<V: Vector>(args: &Gemv) {
    let x = args.x.cast::<f32>();
    for block in 0..args.blocks {
        // SAFETY: the caller's promise.
        unsafe {
            let weight = args.weight.add(block * args.row);
            let mut sums = [V::splat(0.0); SUMS];
            let mut input = 0;
            while input + SUMS <= args.inputs {
                for (place, sum) in sums.iter_mut().enumerate() {
                    let value = V::splat(*x.add(input + place));
                    *sum = sum.fma(value, V::load(weight.add(input + place)));
                }
                input += SUMS;
            }
            let mut sum = V::splat(0.0);
            while input < args.inputs {
                sum = sum.fma(V::splat(*x.add(input)), V::load(weight.add(input)));
                input += 1;
            }
            for part in sums {
                sum = sum.add(part);
            }
            if !args.bias.is_null() {
                sum = sum.add(V::load(args.bias.add(block)));
            }
            match args.after {
                After::Activation(activation) => sum.activate(activation),
                After::Gate => sum.gate(),
            }
            .store(args.y.add(block));
        }
    }
}

const _: () = assert!(LANES == 16, "an f32 after the other is a channel after the other");
