//! Running the steps of a plan, each in parts that threads share.

use std::ops::Range;

use super::arena::{Buffer, Places};
use super::packed::Panels;
use super::plan::{Conv, Feed, Plan, Step};
use super::team::{Crew, Share};
use crate::family::{Activation, Exit};
use crate::kernels::blocked::{
    After, Fused, Gemv, Isa, Lanes, Map, Pointwise, Rows, Source, Stem, StemRows, blocks, fused,
    gemv, means, pointwise, scale, stem,
};
use crate::network::Exiting;

/// One pass of a sub-network over a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) isa: Isa,
    /// The shared weights, [`super::packed::Packed::lanes`].
    pub(crate) packed: &'a [Lanes],
    pub(crate) plan: &'a Plan,
    pub(crate) places: Places,
    /// `[batch, side, side, channels]`.
    pub(crate) images: &'a [f32],
    /// Channels of an image.
    pub(crate) channels: usize,
    pub(crate) batch: usize,
    pub(crate) early: Early<'a>,
}

/// When images leave early, and where what they leave with goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Early<'a> {
    pub(crate) exits: &'a [Exit],
    pub(crate) exiting: Exiting,
    pub(crate) classes: usize,
    /// `[batch]`: number of the exit that each image took; [`WHOLE`] before the pass.
    pub(crate) taken: *mut u8,
    /// `[batch, classes]`.
    pub(crate) logits: *mut f32,
}

// SAFETY: only the caller's thread writes through the places, and nobody reads them meanwhile.
unsafe impl Sync for Early<'_> {}

/// In [`Early::taken`]: no exit.
pub(crate) const WHOLE: u8 = u8::MAX;

/// The largest softmax value.
fn confidence(logits: &[f32]) -> f32 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    1.0 / logits.iter().map(|logit| (logit - top).exp()).sum::<f32>()
}

/// Pixels that a member's part is a multiple of: a whole tile.
const TILE: usize = 8;

impl Pass<'_> {
    /// The whole pass.
    ///
    /// # Safety
    /// The places must be long enough for the plan, the batch and the members of the crew, and nobody
    /// else may use them meanwhile.
    pub(crate) unsafe fn run(&self, crew: &mut Crew<'_>) {
        let mut shared = |step: &Step, image: usize| {
            // SAFETY: the caller's promise; a step begins once every part of the one before is done.
            crew.share(&|share| unsafe { self.step(step, image, share) });
        };
        let mut left = 0;
        for image in 0..self.batch {
            for step in &self.plan.trunk {
                shared(step, image);
                if let Step::Exit { number, .. } = *step {
                    // SAFETY: the caller's promise; the exit's logits are there.
                    if unsafe { self.leaves(number, image) } {
                        left += 1;
                        break;
                    }
                }
            }
        }
        if left < self.batch {
            self.plan.head.iter().for_each(|step| shared(step, 0));
        }
    }

    /// Whether the image leaves at an exit; writes down what it leaves with.
    ///
    /// # Safety
    /// The exit's step must be done and no other running.
    unsafe fn leaves(&self, number: usize, image: usize) -> bool {
        let Early { exits, exiting, classes, taken, logits } = self.early;
        let threshold = match exiting {
            Exiting::Family => exits[number].threshold,
            Exiting::Never => return false,
            Exiting::At(threshold) => threshold,
        };
        // SAFETY: the buffer holds the classes' logits, and nothing writes to it meanwhile.
        let found = unsafe {
            std::slice::from_raw_parts(self.places.of(Buffer::ExitLogits).cast::<f32>(), classes)
        };
        let leaves = confidence(found) >= threshold;
        if leaves {
            // SAFETY: the places hold the batch, and this thread alone writes there. There are fewer
            // exits than stages, of which there are at most 64.
            unsafe {
                taken.add(image).write(number as u8);
                let row = logits.add(image * classes);
                row.copy_from_nonoverlapping(found.as_ptr(), classes);
            }
        }
        leaves
    }

    /// One part of one step.
    ///
    /// # Safety
    /// As [`Self::run`]; the steps before this one must be done, and the parts of one step differ.
    pub(crate) unsafe fn step(&self, step: &Step, image: usize, part: Share) {
        // SAFETY: the caller's promise. Parts write different blocks of channels, or different
        // pixels, of a buffer that the step does not read elsewhere.
        unsafe {
            match *step {
                Step::Image { side } => self.image(side, image, part),
                Step::Stem { layer, blocks, side, stride, to } => {
                    let out_side = side.div_ceil(stride);
                    let rows = part.of(out_side, 1);
                    let stem_args = Stem {
                        y: self.places.of(to),
                        y_block: out_side * out_side,
                        rows: Rows { width: out_side, pitch: out_side, ring: out_side },
                        ..self.stem(layer, side, stride)
                    };
                    let args = StemRows { stem: stem_args, blocks, rows };
                    stem(self.isa, &args);
                }
                Step::Fused { .. } => self.fused(step, part),
                Step::Reduce { inputs, weight, blocks, bias } => {
                    let share = part.of(blocks, 1);
                    let after = After::Activation(Some(Activation::Relu));
                    let x = self.places.of(Buffer::Means);
                    let y = self.places.of(Buffer::Squeezed);
                    self.vector((x, inputs), weight, Some(bias), share, after, y);
                }
                Step::Excite { inputs, weight, blocks, bias, pixels } => {
                    let share = part.of(blocks, 1);
                    let (x, y) = (self.places.of(Buffer::Squeezed), self.places.of(Buffer::Gates));
                    self.vector((x, inputs), weight, Some(bias), share.clone(), After::Gate, y);
                    let map = Map {
                        map: self.places.of(Buffer::Middle).add(share.start * pixels),
                        blocks: share.len(),
                        pixels,
                        values: y.add(share.start),
                        step: 1,
                    };
                    scale(self.isa, &map);
                }
                Step::Pointwise { from, to, add, pixels, layer, blocks, .. } => {
                    let add = add.map(|add| self.places.of(add).cast_const());
                    let (x, y) = (self.places.of(from), self.places.of(to));
                    // Where the weights are larger than the map, parts share the weights.
                    let (mut outputs, mut range) = (0..blocks, 0..pixels);
                    if blocks * 16 > pixels {
                        outputs = part.of(blocks, 1);
                    } else {
                        range = part.of(pixels, TILE);
                    }
                    let folds = self.folds(layer);
                    self.layer(x, pixels, layer, folds, outputs, range, add, y);
                }
                Step::ExitPool { from, blocks, pixels } => {
                    let share = part.of(blocks, 1);
                    let map = Map {
                        map: self.places.of(from).add(share.start * pixels),
                        blocks: share.len(),
                        pixels,
                        values: self.places.of(Buffer::ExitMeans).add(share.start),
                        step: 1,
                    };
                    means(self.isa, &map);
                }
                Step::Exit { inputs, weight, blocks, bias, .. } => {
                    let share = part.of(blocks, 1);
                    let x = self.places.of(Buffer::ExitMeans);
                    let y = self.places.of(Buffer::ExitLogits);
                    let after = After::Activation(None);
                    self.vector((x, inputs), weight, Some(bias), share, after, y);
                }
                Step::Pool { blocks, pixels } => {
                    let share = part.of(blocks, 1);
                    let map = Map {
                        map: self.places.of(Buffer::Middle).add(share.start * pixels),
                        blocks: share.len(),
                        pixels,
                        values: self
                            .places
                            .of(Buffer::Pooled)
                            .add(share.start * self.batch + image),
                        step: self.batch,
                    };
                    means(self.isa, &map);
                }
                Step::Mix { layer, blocks } => {
                    let share = part.of(blocks, 1);
                    let (x, y) = (self.places.of(Buffer::Pooled), self.places.of(Buffer::Features));
                    if self.batch == 1 {
                        let after = After::Activation(layer.activation);
                        self.vector((x, layer.inputs), layer.weight, None, share, after, y);
                    } else {
                        let folds = self.folds(layer);
                        self.layer(x, self.batch, layer, folds, share, 0..self.batch, None, y);
                    }
                }
                Step::Classify { layer, blocks, bias } => {
                    let share = part.of(blocks, 1);
                    let (x, y) = (self.places.of(Buffer::Features), self.places.of(Buffer::Logits));
                    if self.batch == 1 {
                        let after = After::Activation(None);
                        self.vector((x, layer.inputs), layer.weight, Some(bias), share, after, y);
                    } else {
                        let folds = (self.folds(layer).0, self.packed[bias..].as_ptr());
                        self.layer(x, self.batch, layer, folds, share, 0..self.batch, None, y);
                    }
                }
            }
        }
    }

    /// Rows of the image between margins of zeros.
    ///
    /// # Safety
    /// As [`Self::step`].
    unsafe fn image(&self, side: usize, image: usize, part: Share) {
        let (line, channels) = (side * self.channels, self.channels);
        let pitch = line + 2 * channels;
        let images = &self.images[image * side * line..][..side * line];
        // SAFETY: the caller's promise: the buffer holds `side + 2` lines of `pitch`, and parts
        // write different lines.
        unsafe {
            let start = self.places.of(Buffer::Image).cast::<f32>();
            if part.part == 0 {
                start.write_bytes(0, pitch);
                start.add((side + 1) * pitch).write_bytes(0, pitch);
            }
            for row in part.of(side, 1) {
                let place = start.add((row + 1) * pitch);
                place.write_bytes(0, channels);
                let values = images[row * line..][..line].as_ptr();
                place.add(channels).copy_from_nonoverlapping(values, line);
                place.add(channels + line).write_bytes(0, channels);
            }
        }
    }

    /// Places of a layer's scale and shift.
    fn folds(&self, layer: Conv) -> (*const Lanes, *const Lanes) {
        let own = &self.plan.own;
        (own[layer.fold.scale..].as_ptr(), own[layer.fold.shift..].as_ptr())
    }

    /// The first convolution; where its outputs go is for the caller to say.
    fn stem(&self, layer: Conv, side: usize, stride: usize) -> Stem {
        let (scale, shift) = self.folds(layer);
        Stem {
            x: self.places.of(Buffer::Image).cast_const().cast(),
            pitch: side + 2,
            channels: self.channels,
            stride,
            weight: self.packed[layer.weight.place..].as_ptr(),
            scale,
            shift,
            activation: layer.activation,
            y: std::ptr::null_mut(),
            y_block: 0,
            rows: Rows::flat(side.div_ceil(stride)),
        }
    }

    /// A pointwise layer on a map of `pixels`: some blocks of outputs and some pixels.
    ///
    /// # Safety
    /// As [`Self::step`].
    #[expect(clippy::too_many_arguments, reason = "what a layer is made of")]
    unsafe fn layer(
        &self,
        x: *mut Lanes,
        pixels: usize,
        layer: Conv,
        (scale, shift): (*const Lanes, *const Lanes),
        outputs: Range<usize>,
        range: Range<usize>,
        add: Option<*const Lanes>,
        y: *mut Lanes,
    ) {
        let Panels { place, row } = layer.weight;
        let block = outputs.start;
        // SAFETY: the caller's promise; the blocks are the layer's.
        unsafe {
            let args = Pointwise {
                x,
                x_block: pixels,
                inputs: layer.inputs,
                weight: self.packed[place + block * row..].as_ptr(),
                row,
                blocks: outputs.len(),
                scale: scale.add(block),
                shift: shift.add(block),
                activation: layer.activation,
                add: add.map_or(std::ptr::null(), |add| add.add(block * pixels)),
                add_block: pixels,
                y: y.add(block * pixels),
                y_block: pixels,
                rows: Rows::flat(pixels),
                first: range.start,
                last: range.end,
            };
            pointwise(self.isa, &args);
        }
    }

    /// A layer on one vector, some blocks of its outputs.
    ///
    /// # Safety
    /// As [`Self::step`].
    unsafe fn vector(
        &self,
        (x, inputs): (*mut Lanes, usize),
        Panels { place, row }: Panels,
        bias: Option<usize>,
        outputs: Range<usize>,
        after: After,
        y: *mut Lanes,
    ) {
        let block = outputs.start;
        // SAFETY: the caller's promise; the blocks are the layer's.
        unsafe {
            let args = Gemv {
                x,
                inputs,
                weight: self.packed[place + block * row..].as_ptr(),
                row,
                blocks: outputs.len(),
                bias: bias.map_or(std::ptr::null(), |bias| self.packed[bias + block..].as_ptr()),
                after,
                y: y.add(block),
            };
            gemv(self.isa, &args);
        }
    }

    /// # Safety
    /// As [`Self::step`].
    unsafe fn fused(&self, step: &Step, part: Share) {
        let &Step::Fused {
            from,
            blocks: count,
            side,
            kernel,
            stride,
            weight,
            fold,
            activation,
            means,
            ..
        } = step
        else {
            return;
        };
        let outputs = part.of(count, 1);
        let block = outputs.start;
        let (area, out_side) = (side * side, side.div_ceil(stride));
        let own = &self.plan.own;
        // SAFETY: the caller's promise; every member has a ring of its own, and the blocks are those
        // of the step.
        unsafe {
            let source = match from {
                Feed::Map(buffer) => {
                    Source::Map { x: self.places.of(buffer).add(block * area).cast_const() }
                }
                Feed::Image { layer, side, stride } => {
                    let stem = self.stem(layer, side, stride);
                    Source::Stem(Stem {
                        weight: stem.weight.add(block * layer.weight.row),
                        scale: stem.scale.add(block),
                        shift: stem.shift.add(block),
                        ..stem
                    })
                }
                Feed::Layer { layer, from } => {
                    let (scale, shift) = self.folds(layer);
                    let Panels { place, row } = layer.weight;
                    Source::Pointwise(Pointwise {
                        x: self.places.of(from),
                        x_block: area,
                        inputs: layer.inputs,
                        weight: self.packed[place + block * row..].as_ptr(),
                        row,
                        blocks: 0,
                        scale: scale.add(block),
                        shift: shift.add(block),
                        activation: layer.activation,
                        add: std::ptr::null(),
                        add_block: 0,
                        y: std::ptr::null_mut(),
                        y_block: 0,
                        rows: Rows::flat(area),
                        first: 0,
                        last: 0,
                    })
                }
            };
            let target = self.places.of(Buffer::Middle);
            let means_place = self.places.of(Buffer::Means);
            let args = Fused {
                source,
                blocks: outputs.len(),
                height: side,
                width: side,
                kernel,
                stride,
                weight: self.packed[weight + block * kernel * kernel..].as_ptr(),
                scale: own[fold.scale + block..].as_ptr(),
                shift: own[fold.shift + block..].as_ptr(),
                activation,
                y: target.add(block * out_side * out_side),
                means: if means { means_place.add(block) } else { std::ptr::null_mut() },
                ring: self.places.ring(part.member),
            };
            fused(self.isa, &args);
        }
    }

    /// The map that a depthwise convolution reads, `[blocks][side²]`, where the step before it does not
    /// leave it whole: computed by itself. For comparisons.
    ///
    /// # Safety
    /// As [`Self::step`], with the whole step for the caller alone; the step of the depthwise
    /// convolution may be done already.
    pub(super) unsafe fn before(
        &self,
        from: Feed,
        blocks: usize,
        side: usize,
    ) -> Option<Vec<Lanes>> {
        let mut map = vec![Lanes::ZERO; blocks * side * side];
        let y = map.as_mut_ptr();
        // SAFETY: the caller's promise; the map has the layer's blocks and pixels.
        unsafe {
            match from {
                Feed::Map(_) => return None,
                Feed::Image { layer, side: image, stride } => {
                    let rows = Rows { width: side, pitch: side, ring: side };
                    let args =
                        Stem { y, y_block: side * side, rows, ..self.stem(layer, image, stride) };
                    stem(self.isa, &StemRows { stem: args, blocks, rows: 0..side });
                }
                Feed::Layer { layer, from } => {
                    let (x, pixels) = (self.places.of(from), side * side);
                    let folds = self.folds(layer);
                    self.layer(x, pixels, layer, folds, 0..blocks, 0..pixels, None, y);
                }
            }
        }
        Some(map)
    }

    /// Copies the logits `[batch, classes]` of the images that took no exit.
    ///
    /// # Safety
    /// The pass must be done.
    pub(crate) unsafe fn logits(&self, classes: usize, taken: &[u8], logits: &mut [f32]) {
        let lanes = blocks(classes) * self.batch;
        // SAFETY: the caller's promise: nobody writes to the buffer any more.
        let found = unsafe { std::slice::from_raw_parts(self.places.of(Buffer::Logits), lanes) };
        for (image, row) in logits.chunks_exact_mut(classes).enumerate() {
            if taken[image] != WHOLE {
                continue;
            }
            for (block, values) in row.chunks_mut(16).enumerate() {
                values.copy_from_slice(&found[block * self.batch + image].0[..values.len()]);
            }
        }
    }
}
