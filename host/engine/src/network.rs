//! Inference: one resident set of weights, a sub-network by its index.
//!
//! The weights are held once, packed for the kernels. Beside them each sub-network has what cannot be
//! shared: its steps and the folded scale and shift of each normalisation. A switch is the index of
//! the next call. Feature maps live in the arena of a [`Workspace`] of the caller's, laid out for the
//! largest sub-network; after that nothing is allocated.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::cuda::program::Program;
use crate::exec::arena::Sizes;
use crate::exec::packed::Packed;
use crate::exec::plan::Plan;
use crate::exec::steps::{Early, Pass, WHOLE};
use crate::exec::team::Team;
use crate::exec::trace;
use crate::family::{FamilyFault, SubNet};
use crate::intermediate::Intermediate;
use crate::kernels::blocked::{Isa, Lanes, values};
use crate::layout::{Layout, Unit};
use crate::model::{self, Calibrated, Loaded, Model};
use crate::tensors::FileFault;
use crate::train::network::Values;

/// Why a call cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunFault {
    /// There is no such sub-network.
    #[error("sub-network {index}: the model has 0 to {last}")]
    Index {
        /// The index asked for.
        index: usize,
        /// The largest index.
        last: usize,
    },
    /// The values are not whole images.
    #[error(
        "images: {found} values, expected a multiple of {expected} (height × width × channels)"
    )]
    Images {
        /// Values given.
        found: usize,
        /// Values of one image.
        expected: usize,
    },
    /// More images a call, or fewer, than a device takes.
    #[error("{found} images a call, expected 1 to {most}")]
    Batch {
        /// Images asked for.
        found: usize,
        /// The most.
        most: usize,
    },
    /// Images that leave early, where none can.
    #[error(
        "early exits after stages {stages:?} with thresholds below 1: a device takes none of them, \
         every image would go to the end"
    )]
    Exits {
        /// The stages, 0 the first.
        stages: Vec<usize>,
    },
}

/// Most bytes of feature maps that one image may take on one thread. The published sub-networks take
/// some 10 MB; a description of a few lines could ask for more than any machine has.
pub const MOST_ARENA: usize = 1 << 30;

/// Images a call that a grid of blocks of threads can count.
const MOST_IMAGES: usize = 65_535;

/// When images leave at early exits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Exiting {
    /// At the confidences that the family says.
    Family,
    /// Never: every image goes to the end.
    Never,
    /// At this confidence, at any exit.
    At(f32),
}

impl Exiting {
    /// As a row of a policy says: confidence in 1/65535, 65535 = never.
    #[must_use]
    pub fn of_row(exit_threshold: u16) -> Self {
        match exit_threshold {
            u16::MAX => Self::Never,
            share => Self::At(f32::from(share) / f32::from(u16::MAX)),
        }
    }
}

/// A super-network ready to run.
#[derive(Debug)]
pub struct Network {
    layout: Layout,
    /// Shared with networks of other statistics.
    packed: Arc<Packed>,
    nets: Vec<SubNet>,
    plans: Vec<Plan>,
    /// Of the largest sub-network in each buffer.
    sizes: Sizes,
    isa: Isa,
    selected: AtomicUsize,
}

/// Feature maps and threads of one caller.
#[derive(Debug)]
pub struct Workspace {
    arena: Vec<Lanes>,
    logits: Vec<f32>,
    /// Number of the exit that each image of the last call took.
    taken: Vec<u8>,
    team: Team,
}

impl Default for Workspace {
    /// For the caller's thread alone.
    fn default() -> Self {
        Self::with_threads(1)
    }
}

impl Workspace {
    /// For `threads` threads, the caller's one of them, at least 1. The others live as long as the
    /// workspace and sleep between calls.
    #[must_use]
    pub fn with_threads(threads: usize) -> Self {
        let (arena, logits, taken) = (Vec::new(), Vec::new(), Vec::new());
        Self { arena, logits, taken, team: Team::new(threads) }
    }

    /// For each image of the last call the number of the early exit that it took, `None` where it
    /// went to the end.
    pub fn exits(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        self.taken.iter().map(|taken| Some(usize::from(*taken)).filter(|_| *taken != WHOLE))
    }

    /// Threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.team.members()
    }

    /// Bytes held. They grow at the first call, and later only for more images a call or another
    /// network.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.capacity() * size_of::<Lanes>()
            + self.logits.capacity() * size_of::<f32>()
            + self.taken.capacity()
    }

    /// Makes room for `batch` images a call of any sub-network, so that no call allocates.
    pub fn reserve(&mut self, network: &Network, batch: usize) {
        let lanes = network.sizes.total(batch, self.team.members());
        if self.arena.len() < lanes {
            self.arena.resize(lanes, Lanes::ZERO);
        }
        let logits = batch * network.layout.family().classes;
        if self.logits.len() < logits {
            self.logits.resize(logits, 0.0);
        }
        self.taken.reserve(batch.saturating_sub(self.taken.len()));
    }
}

/// Checks that values are those of a family's parameters. The kernels read as far as the family says,
/// so it is asked, not the list of parameters, which anybody may change.
///
/// # Errors
/// [`FamilyFault`] where the family is none.
///
/// # Panics
/// If a parameter's shape or the number of its values is another.
fn check_values(layout: &Layout, values: &Values) -> Result<(), FamilyFault> {
    let parameters = Layout::new(layout.family())?.parameters;
    assert!(layout.parameters == parameters, "parameters of another family");
    assert_eq!(values.len(), parameters.len(), "number of parameters");
    for (parameter, values) in parameters.iter().zip(values) {
        let wanted: usize = parameter.shape.iter().product();
        assert_eq!(values.len(), wanted, "values of {}", parameter.name);
    }
    Ok(())
}

impl Network {
    /// Loads a model folder: its description, weights and statistics.
    ///
    /// # Errors
    /// [`FileFault`] names the file, the tensor and the expectation.
    pub fn load(folder: &Path) -> Result<(Self, Model), FileFault> {
        let Loaded { model, layout, values, nets } = Loaded::read(folder)?;
        let network = Self::new(layout, values, &nets).map_err(|fault| FileFault::Content {
            path: folder.join(model::FILE).display().to_string(),
            why: fault.to_string(),
        })?;
        Ok((network, model))
    }

    /// A network of values in memory and calibrated sub-networks.
    ///
    /// # Errors
    /// [`FamilyFault`] where a sub-network is not one of the layout's family, or their feature maps
    /// take more than [`MOST_ARENA`] bytes an image.
    ///
    /// # Panics
    /// If values or statistics are not in the shape of the layout.
    pub fn new(layout: Layout, values: Values, nets: &[Calibrated]) -> Result<Self, FamilyFault> {
        let mut units = Vec::with_capacity(nets.len());
        for calibrated in nets {
            layout.family().check_net(&calibrated.net)?;
            units.push(layout.units(&calibrated.net));
        }
        check_values(&layout, &values)?;
        let packed = Packed::new(&layout, &values, &units);
        let mut sizes = Sizes::default();
        let plans = (nets.iter().zip(&units))
            .map(|(net, units)| {
                let plan = Plan::new(&layout, &values, &packed, units, &net.statistics);
                sizes.merge(&plan.sizes);
                plan
            })
            .collect();
        // A call's images take turns in the maps, so that their number does not matter.
        let bytes = sizes.total(1, 1).saturating_mul(size_of::<Lanes>());
        if bytes > MOST_ARENA {
            let expected = format!("at most {MOST_ARENA}");
            return Err(layout.family().fault("bytes of feature maps", bytes, &expected));
        }
        Ok(Self {
            layout,
            packed: Arc::new(packed),
            nets: nets.iter().map(|calibrated| calibrated.net.clone()).collect(),
            plans,
            sizes,
            isa: Isa::best(),
            selected: AtomicUsize::new(0),
        })
    }

    /// The same network with other statistics: the weights are shared with this one, only what each
    /// sub-network has of its own is there twice. Starts on the sub-network that is selected here. A
    /// [`Workspace`] for this one has room for the other.
    ///
    /// # Panics
    /// If `nets` are not this network's sub-networks in its order, or if values or statistics are not
    /// in the shape of the layout.
    #[must_use]
    pub fn recalibrated(&self, values: &Values, nets: &[Calibrated]) -> Self {
        assert!(
            self.nets.iter().eq(nets.iter().map(|calibrated| &calibrated.net)),
            "other sub-networks than the network's"
        );
        check_values(&self.layout, values).expect("a family that has made a network");
        let plan = |calibrated: &Calibrated| {
            let units = self.layout.units(&calibrated.net);
            Plan::new(&self.layout, values, &self.packed, &units, &calibrated.statistics)
        };
        Self {
            layout: self.layout.clone(),
            packed: Arc::clone(&self.packed),
            nets: self.nets.clone(),
            plans: nets.iter().map(plan).collect(),
            sizes: self.sizes,
            isa: self.isa,
            selected: AtomicUsize::new(self.selected()),
        }
    }

    /// The same network on another instruction set.
    #[must_use]
    pub fn on(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// The instruction set of its kernels.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes of the shared weights and of what the sub-networks have of their own; the feature maps
    /// are [`Workspace::bytes`].
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        size_of_val(&self.packed.lanes[..]) + self.plans.iter().map(Plan::bytes).sum::<usize>()
    }

    /// Sub-network `index` as launches of CUDA kernels, for `images` a call on a device with so many
    /// multiprocessors. No image leaves early there: exits with a threshold of 1 are left out.
    ///
    /// # Errors
    /// [`RunFault`]: no such sub-network, a number of images that no launch can have, or early exits
    /// with a threshold below 1.
    pub fn program(
        &self,
        index: usize,
        images: usize,
        multiprocessors: usize,
    ) -> Result<Program, RunFault> {
        let last = self.plans.len().saturating_sub(1);
        let plan = self.plans.get(index).ok_or(RunFault::Index { index, last })?;
        if !(1..=MOST_IMAGES).contains(&images) {
            return Err(RunFault::Batch { found: images, most: MOST_IMAGES });
        }
        let early = self.layout.family().exits.iter().filter(|exit| exit.threshold < 1.0);
        let stages: Vec<_> = early.map(|exit| exit.stage).collect();
        if !stages.is_empty() {
            return Err(RunFault::Exits { stages });
        }
        let channels = self.layout.family().image_channels;
        Ok(Program::new(plan, channels, images, multiprocessors))
    }

    /// The weights that all sub-networks share, as programs read them
    /// ([`crate::cuda::launch::Space::Weights`]).
    #[must_use]
    pub fn shared_values(&self) -> &[f32] {
        values(&self.packed.lanes)
    }

    /// The folded normalisations of sub-network `index` ([`crate::cuda::launch::Space::Own`]), `None`
    /// where there is none.
    #[must_use]
    pub fn own_values(&self, index: usize) -> Option<&[f32]> {
        self.plans.get(index).map(|plan| values(&plan.own))
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of sub-networks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.plans.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    /// Values of one image at the family's `resolution`: height × width × channels.
    #[must_use]
    pub fn image_len(&self) -> usize {
        let family = self.layout.family();
        family.resolution * family.resolution * family.image_channels
    }

    /// Values of one image of sub-network `index`, `None` where there is none.
    #[must_use]
    pub fn image_len_of(&self, index: usize) -> Option<usize> {
        let side = self.plans.get(index)?.side;
        Some(side * side * self.layout.family().image_channels)
    }

    /// Switches to another sub-network: [`Self::run_selected`] runs it from its next call on. Nothing
    /// but the index changes, so any thread may switch while others run.
    ///
    /// # Errors
    /// [`RunFault::Index`]; the one before stays.
    #[inline]
    pub fn select(&self, index: usize) -> Result<(), RunFault> {
        if index >= self.plans.len() {
            return Err(RunFault::Index { index, last: self.plans.len().saturating_sub(1) });
        }
        self.selected.store(index, Ordering::Relaxed);
        Ok(())
    }

    /// The sub-network that is switched to; the first after load.
    #[must_use]
    pub fn selected(&self) -> usize {
        self.selected.load(Ordering::Relaxed)
    }

    /// Runs the sub-network that is switched to; see [`Self::run`].
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_selected<'a>(
        &self,
        images: &[f32],
        space: &'a mut Workspace,
    ) -> Result<&'a [f32], RunFault> {
        self.run(self.selected(), images, space)
    }

    /// Runs sub-network `index` on images `[batch, height, width, channels]`, normalised as in its
    /// training; gives the logits `[batch, classes]`.
    ///
    /// Images leave at the early exits of the family, where it has some; [`Workspace::exits`] says
    /// which. Allocates nothing but in a workspace that has not yet had room for as many images.
    ///
    /// # Errors
    /// [`RunFault`]: no such sub-network, or not whole images.
    pub fn run<'a>(
        &self,
        index: usize,
        images: &[f32],
        space: &'a mut Workspace,
    ) -> Result<&'a [f32], RunFault> {
        self.run_exiting(index, images, Exiting::Family, space)
    }

    /// Runs as [`Self::run`], with other confidences at which images leave.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_exiting<'a>(
        &self,
        index: usize,
        images: &[f32],
        exiting: Exiting,
        space: &'a mut Workspace,
    ) -> Result<&'a [f32], RunFault> {
        let mut pass = self.pass(index, images, space)?;
        pass.early.exiting = exiting;
        let Workspace { logits, taken, team, .. } = space;
        // SAFETY: `pass` has laid out the arena for the plan, the batch and the team's members, and
        // the workspace is borrowed exclusively.
        unsafe { pass.run(&mut team.wake()) };
        let classes = self.layout.family().classes;
        let logits = &mut logits[..pass.batch * classes];
        // SAFETY: the pass is done.
        unsafe { pass.logits(classes, taken, logits) };
        Ok(logits)
    }

    /// Runs as [`Self::run`] on the caller's thread alone and tells how long each step took: what it
    /// is, with its sizes, and its time summed over the images.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn profile(
        &self,
        index: usize,
        images: &[f32],
        space: &mut Workspace,
    ) -> Result<Vec<(String, Duration)>, RunFault> {
        let pass = self.pass(index, images, space)?;
        // SAFETY: this thread runs alone; see `run`.
        Ok(unsafe { trace::profile(&pass) })
    }

    /// Runs sub-network `index` on one image on the caller's thread alone and gives what each step
    /// leaves, in their order, as `[pixels, channels]`. For tests and comparisons.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn intermediates(
        &self,
        index: usize,
        image: &[f32],
        space: &mut Workspace,
    ) -> Result<Vec<(Intermediate, Vec<f32>)>, RunFault> {
        let pass = self.pass(index, image, space)?;
        let len = pass.plan.side * pass.plan.side * pass.channels;
        if pass.batch != 1 {
            return Err(RunFault::Images { found: image.len(), expected: len });
        }
        let units = self.units(index).unwrap_or_default();
        // SAFETY: this thread runs alone, with one image; see `run`. The units are of the sub-network
        // that the plan was made of.
        Ok(unsafe { trace::intermediates(&pass, &units) })
    }

    /// Sub-network `index`, `None` where there is none.
    #[must_use]
    pub fn net(&self, index: usize) -> Option<&SubNet> {
        self.nets.get(index)
    }

    /// The units of sub-network `index`, `None` where there is none.
    #[must_use]
    pub fn units(&self, index: usize) -> Option<Vec<Unit>> {
        self.nets.get(index).map(|net| self.layout.units(net))
    }

    /// Checks a call and lays out its arena.
    fn pass<'a>(
        &'a self,
        index: usize,
        images: &'a [f32],
        space: &mut Workspace,
    ) -> Result<Pass<'a>, RunFault> {
        let plan = self
            .plans
            .get(index)
            .ok_or(RunFault::Index { index, last: self.plans.len().saturating_sub(1) })?;
        let channels = self.layout.family().image_channels;
        let expected = plan.side * plan.side * channels;
        if images.is_empty() || !images.len().is_multiple_of(expected) {
            return Err(RunFault::Images { found: images.len(), expected });
        }
        let batch = images.len() / expected;
        space.reserve(self, batch);
        space.taken.clear();
        space.taken.resize(batch, WHOLE);
        let members = space.team.members();
        Ok(Pass {
            isa: self.isa,
            packed: &self.packed.lanes,
            plan,
            places: self.sizes.places(&mut space.arena, batch, members),
            images,
            channels,
            batch,
            early: Early {
                exits: &self.layout.family().exits,
                exiting: Exiting::Never,
                classes: self.layout.family().classes,
                taken: space.taken.as_mut_ptr(),
                logits: space.logits.as_mut_ptr(),
            },
        })
    }
}
