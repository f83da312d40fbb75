//! A sub-network as a list of launches.

use super::launch::{
    After, Depthwise, Folded, Fused, Launch, Place, Pointwise, Space, Stem, Vector,
};
use super::tiles;
use super::written::Written;
use crate::exec::arena::Buffer;
use crate::exec::packed::Panels;
use crate::exec::plan::{Conv, Feed, Fold, Plan, Step};
use crate::family::Activation;
use crate::intermediate::Intermediate;
use crate::kernels::blocked::LANES;

/// The launches of one sub-network, in their order, and where its memory lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The launches; each may read what those before it wrote.
    pub launches: Vec<Launch>,
    /// Values of [`Space::Arena`].
    pub arena: usize,
    /// Where the images `[images][height][width][channels]` go.
    pub input: Place,
    /// Values of all images.
    pub input_len: usize,
    /// Where the logits `[images][blocks][16]` are found.
    pub output: Place,
    /// Values between the logits of an image and of the next.
    pub output_step: usize,
    /// Images.
    pub images: usize,
    /// What the launches leave, in their order. A map is in no memory where the next layer is part of
    /// the same launch, and where only its means are wanted.
    pub written: Vec<Written>,
}

/// A place for maps or vectors.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Images,
    Even,
    Odd,
    /// Between a layer and its depthwise convolution.
    Wide,
    Middle,
    Sums,
    Squeezed,
    Gates,
    Features,
    Logits,
}

const SLOTS: usize = 10;

#[derive(Debug)]
struct Build {
    images: usize,
    multiprocessors: usize,
    starts: [usize; SLOTS],
    sizes: [usize; SLOTS],
    launches: Vec<Launch>,
    written: Vec<Written>,
    /// Units that have their launch.
    units: usize,
    /// How the sums lie that the last map has left, and of how many pixels they are.
    summed: (usize, usize),
    /// The factors wait for the layer that reads the wide map.
    gated: bool,
}

impl Program {
    /// The program of a plan for so many images a call on a device with so many multiprocessors.
    /// No image leaves early.
    pub(crate) fn new(plan: &Plan, channels: usize, images: usize, multiprocessors: usize) -> Self {
        let build = |starts| {
            let mut build = Build {
                images,
                multiprocessors,
                starts,
                sizes: [0; SLOTS],
                launches: Vec::new(),
                written: Vec::new(),
                units: 0,
                summed: (0, 0),
                gated: false,
            };
            build.plan(plan, channels);
            build
        };
        // Sizes do not depend on the places.
        let sizes = build([0; SLOTS]).sizes;
        let (mut starts, mut arena) = ([0; SLOTS], 0);
        for (start, size) in starts.iter_mut().zip(sizes) {
            *start = arena;
            // A gap that nothing writes to.
            arena += size.next_multiple_of(64) + 64;
        }
        let Build { launches, written, .. } = build(starts);
        let place = |slot: Slot| Place { space: Space::Arena, at: starts[slot as usize] };
        Self {
            launches,
            arena,
            input: place(Slot::Images),
            input_len: images * plan.side * plan.side * channels,
            output: place(Slot::Logits),
            output_step: sizes[Slot::Logits as usize] / images,
            images,
            written,
        }
    }
}

fn shared(lanes: usize) -> Place {
    Place { space: Space::Weights, at: lanes * LANES }
}

fn folded(fold: Fold) -> Folded {
    let own = |lanes| Place { space: Space::Own, at: lanes * LANES };
    Folded { scale: own(fold.scale), shift: own(fold.shift) }
}

fn slot(buffer: Buffer) -> Slot {
    match buffer {
        Buffer::Even => Slot::Even,
        Buffer::Odd => Slot::Odd,
        Buffer::Middle => Slot::Middle,
        other => unreachable!("no step has a map in {other:?}"),
    }
}

impl Build {
    /// A place for so many values.
    fn place(&mut self, slot: Slot, values: usize) -> Place {
        let size = &mut self.sizes[slot as usize];
        *size = (*size).max(values);
        Place { space: Space::Arena, at: self.starts[slot as usize] }
    }

    fn map(&mut self, slot: Slot, blocks: usize, pixels: usize) -> Place {
        self.place(slot, self.images * blocks * pixels * LANES)
    }

    /// A launch that leaves a tensor, of so many blocks and pixels, in its output.
    fn leaves(&mut self, launch: Launch, what: Intermediate, (blocks, pixels): (usize, usize)) {
        if let Some(place) = launch.output {
            let launch = self.launches.len();
            self.written.push(Written { launch, what, place, parts: 1, blocks, pixels, over: 1 });
        }
        self.launches.push(launch);
    }

    /// A launch of the next unit: its map, of so many blocks and pixels, or sums of the map, or both.
    fn unit(&mut self, launch: Launch, size: (usize, usize), sums: Option<(Intermediate, Place)>) {
        self.leaves(launch, Intermediate::Map(self.units), size);
        if let Some((what, place)) = sums {
            let (parts, over) = self.summed;
            let launch = self.launches.len() - 1;
            let written = Written { launch, what, place, parts, blocks: size.0, pixels: 1, over };
            self.written.push(written);
        }
        self.units += 1;
    }

    fn plan(&mut self, plan: &Plan, channels: usize) {
        self.place(Slot::Images, self.images * plan.side * plan.side * channels);
        let steps: Vec<&Step> = plan.trunk.iter().chain(&plan.head).collect();
        for (index, step) in steps.iter().enumerate() {
            let pooled = matches!(steps.get(index + 1), Some(Step::Pool { .. }));
            self.step(step, channels, pooled);
        }
    }

    /// `pooled`: only the sums of the step's map are wanted.
    fn step(&mut self, step: &Step, channels: usize, pooled: bool) {
        let images = self.images;
        match *step {
            // The first convolution reads the image where it lies; the last layer of the trunk has
            // left its sums; exits are left out.
            Step::Image { .. } | Step::Pool { .. } | Step::ExitPool { .. } | Step::Exit { .. } => {}
            Step::Stem { layer, blocks, side, stride, to } => {
                let y = self.map(slot(to), blocks, side.div_ceil(stride).pow(2));
                self.stem(layer, (side, channels), blocks, stride, y);
            }
            Step::Fused {
                from,
                blocks,
                side,
                kernel,
                stride,
                weight,
                fold,
                activation,
                means,
                ..
            } => {
                let depthwise = Depthwise {
                    x: self.map(Slot::Wide, 0, 0),
                    weight: shared(weight),
                    folded: folded(fold),
                    y: self.map(Slot::Middle, blocks, side.div_ceil(stride).pow(2)),
                    sums: None,
                    images,
                    channels: blocks * LANES,
                    height: side,
                    width: side,
                    kernel,
                    stride,
                    activation,
                };
                self.fused(from, depthwise, channels, means);
            }
            Step::Reduce { inputs, weight, blocks, bias } => {
                let x = self.map(Slot::Sums, 0, 0);
                let y = self.map(Slot::Squeezed, blocks, 1);
                let relu = After::Activation(Some(Activation::Relu));
                let layer =
                    self.vector((x, self.summed), weight, Some(bias), inputs, blocks, relu, y);
                self.leaves(layer.launch(), Intermediate::Squeezed(self.units - 1), (blocks, 1));
            }
            Step::Excite { inputs, weight, blocks, bias, .. } => {
                let x = self.map(Slot::Squeezed, 0, 0);
                let y = self.map(Slot::Gates, blocks, 1);
                let layer =
                    self.vector((x, (1, 1)), weight, Some(bias), inputs, blocks, After::Gate, y);
                self.leaves(layer.launch(), Intermediate::Gates(self.units - 1), (blocks, 1));
                self.gated = true;
            }
            Step::Pointwise { from, to, add, pixels, layer, blocks } => {
                let x = self.map(slot(from), 0, 0);
                let add = add.map(|add| self.map(slot(add), blocks, pixels));
                let y = (!pooled).then(|| self.map(slot(to), blocks, pixels));
                let layer = self.layer(layer, x, add, y, (blocks, pixels));
                self.pointwise(layer, pooled);
            }
            Step::Mix { layer, blocks } => {
                let x = self.map(Slot::Sums, 0, 0);
                let y = self.map(Slot::Features, blocks, 1);
                let Conv { inputs, weight, activation, .. } = layer;
                let after = After::Activation(activation);
                let layer = self.vector((x, self.summed), weight, None, inputs, blocks, after, y);
                self.unit(layer.launch(), (blocks, 1), None);
            }
            Step::Classify { layer, blocks, bias } => {
                let x = self.map(Slot::Features, 0, 0);
                let y = self.map(Slot::Logits, blocks, 1);
                let Conv { inputs, weight, .. } = layer;
                let after = After::Activation(None);
                let layer = self.vector((x, (1, 1)), weight, Some(bias), inputs, blocks, after, y);
                self.leaves(layer.launch(), Intermediate::Logits, (blocks, 1));
            }
        }
    }

    /// A layer and the depthwise one that reads its map; `means`: the sums of its outputs are wanted.
    fn fused(&mut self, from: Feed, mut depthwise: Depthwise, channels: usize, means: bool) {
        let Depthwise { height: side, stride, .. } = depthwise;
        let (blocks, area) = (depthwise.channels / LANES, side * side);
        let rows = side.div_ceil(stride);
        let size = (blocks, rows * rows);
        match from {
            Feed::Map(buffer) => depthwise.x = self.map(slot(buffer), blocks, area),
            Feed::Image { layer, side: image, stride } => {
                let wide = self.map(Slot::Wide, blocks, area);
                self.stem(layer, (image, channels), blocks, stride, wide);
            }
            Feed::Layer { layer, from } => {
                let x = self.map(slot(from), 0, 0);
                let mut both = Fused {
                    x,
                    weight: shared(layer.weight.place),
                    row: layer.weight.row,
                    folded: folded(layer.fold),
                    taps: depthwise.weight,
                    tap_folded: depthwise.folded,
                    y: depthwise.y,
                    sums: None,
                    images: self.images,
                    inputs: layer.inputs,
                    outputs: depthwise.channels,
                    side,
                    kernel: depthwise.kernel,
                    stride,
                    activation: layer.activation,
                };
                let first = self.layer(layer, x, None, Some(depthwise.x), (blocks, area));
                let one = tiles::for_fused(&both, &first, &depthwise, self.multiprocessors);
                if let Some(whole) = one.filter(|_| layer.activation == depthwise.activation) {
                    if means {
                        self.summed = (1, rows * rows);
                        both.sums = Some(self.map(Slot::Sums, blocks, 1));
                    }
                    // The first layer's map is nowhere.
                    self.units += 1;
                    let sums = both.sums.map(|place| (Intermediate::Means(self.units), place));
                    self.unit(both.launch(whole), size, sums);
                    return;
                }
                self.map(Slot::Wide, blocks, area);
                self.pointwise(first, false);
            }
        }
        let bands = tiles::for_depthwise(&depthwise, self.multiprocessors);
        if means {
            self.summed = (rows.div_ceil(bands.rows), rows * rows);
            depthwise.sums = Some(self.map(Slot::Sums, blocks, self.summed.0));
        }
        let sums = depthwise.sums.map(|place| (Intermediate::Means(self.units), place));
        self.unit(depthwise.launch(bands), size, sums);
    }

    fn stem(
        &mut self,
        layer: Conv,
        (side, channels): (usize, usize),
        blocks: usize,
        stride: usize,
        y: Place,
    ) {
        let stem = Stem {
            x: self.place(Slot::Images, 0),
            weight: shared(layer.weight.place),
            folded: folded(layer.fold),
            y,
            images: self.images,
            side,
            channels,
            outputs: blocks * LANES,
            stride,
            activation: layer.activation,
        };
        self.unit(stem.launch(), (blocks, side.div_ceil(stride).pow(2)), None);
    }

    /// A pointwise layer, without the sums and the factors that may belong to it.
    fn layer(
        &self,
        layer: Conv,
        x: Place,
        add: Option<Place>,
        y: Option<Place>,
        (blocks, pixels): (usize, usize),
    ) -> Pointwise {
        Pointwise {
            x,
            weight: shared(layer.weight.place),
            row: layer.weight.row,
            folded: folded(layer.fold),
            gates: None,
            add,
            y,
            sums: None,
            images: self.images,
            inputs: layer.inputs,
            outputs: blocks * LANES,
            pixels,
            activation: layer.activation,
        }
    }

    /// A pointwise layer; `summed`: it leaves the sums of its outputs.
    fn pointwise(&mut self, mut layer: Pointwise, summed: bool) {
        layer.gates = std::mem::take(&mut self.gated).then(|| self.map(Slot::Gates, 0, 0));
        let tile = tiles::for_pointwise(&layer, self.multiprocessors);
        if summed {
            self.summed = (tile.over(layer.pixels), layer.pixels);
            layer.sums = Some(self.map(Slot::Sums, layer.outputs / LANES, self.summed.0));
        }
        let sums = layer.sums.map(|place| (Intermediate::Pooled, place));
        self.unit(layer.launch(tile), (layer.outputs / LANES, layer.pixels), sums);
    }

    #[expect(clippy::too_many_arguments, reason = "what a layer is made of")]
    fn vector(
        &self,
        (x, (parts, pixels)): (Place, (usize, usize)),
        Panels { place, row }: Panels,
        bias: Option<usize>,
        inputs: usize,
        blocks: usize,
        after: After,
        y: Place,
    ) -> Vector {
        Vector {
            x,
            parts,
            pixels,
            weight: shared(place),
            row,
            bias: bias.map(shared),
            y,
            images: self.images,
            inputs,
            outputs: blocks * LANES,
            after,
        }
    }
}
