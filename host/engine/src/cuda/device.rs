//! Programs on a device: one resident set of weights, one captured graph a sub-network.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cudarc::driver::LaunchConfig;
#[cfg(not(feature = "candle-cuda"))]
use cudarc::driver::sys;
use cudarc::driver::sys::{
    CUdevice_attribute, CUevent_flags, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode,
};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaGraph, CudaSlice, CudaStream, DevicePtr, DriverError,
    PinnedHostSlice, PushKernelArg,
};
use cudarc::nvrtc::Ptx;

use super::launch::{Bases, Launch};
use super::program::Program;
use super::written::Written;
use crate::network::{Network, RunFault};

/// The kernels, as `build.rs` has compiled them.
const KERNELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

/// Compute capabilities that they are compiled for; `none` in a build for checks, which has no kernels
/// (`build.rs`).
pub const CAPABILITIES: &str = env!("COSHIFT_CUDA_CAPABILITIES");

/// [`CAPABILITIES`] where there is no kernel.
const NONE: &str = "none";

/// Why nothing runs on a device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceFault {
    /// This machine has no CUDA driver.
    #[error("no CUDA driver: libcuda.so.1 is not found on this machine")]
    NoDriver,
    /// The driver finds no such device.
    #[error("no CUDA device {ordinal}: {why}")]
    NoDevice {
        /// Number of the device.
        ordinal: usize,
        /// What the driver says.
        why: String,
    },
    /// The program has no kernels.
    #[error(
        "built without kernels, for checks only (COSHIFT_CUDA_KERNELS=none); `cargo xtask cuda` builds \
         a program with them"
    )]
    NoKernels,
    /// The kernels are compiled for other devices.
    #[error(
        "{device} has compute capability {found}, the kernels are compiled for {CAPABILITIES}: \
         build with CUDA_COMPUTE_CAP={found}"
    )]
    Capability {
        /// Name of the device.
        device: String,
        /// Its compute capability, 87 for 8.7.
        found: String,
    },
    /// The driver refuses.
    #[error("{what}: {why}")]
    Driver {
        /// What was asked of it.
        what: String,
        /// What it says.
        why: String,
    },
    /// The call does not fit.
    #[error(transparent)]
    Run(#[from] RunFault),
}

fn driver(what: impl fmt::Display) -> impl FnOnce(DriverError) -> DeviceFault {
    move |error| DeviceFault::Driver { what: what.to_string(), why: says(error) }
}

/// The name of an error, which the driver knows without a context.
fn says(DriverError(code): DriverError) -> String {
    format!("{code:?}")
}

/// The kernels, loaded on a device.
#[derive(Debug)]
pub(crate) struct Kernels {
    functions: HashMap<&'static str, CudaFunction>,
    name: String,
    capability: String,
    pub(crate) multiprocessors: usize,
}

impl Kernels {
    /// Loads them into a context.
    pub(crate) fn load(context: &Arc<CudaContext>) -> Result<Self, DeviceFault> {
        let name = context.name().map_err(driver("name of the device"))?;
        let (major, minor) = context.compute_capability().map_err(driver("compute capability"))?;
        let capability = format!("{major}{minor}");
        let count = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = context.attribute(count).map_err(driver("multiprocessors"))?;
        let multiprocessors = usize::try_from(multiprocessors).unwrap_or(1).max(1);
        let functions = Self::functions(context, &name, &capability);
        // A driver refuses an empty file, or finds no kernel in it; only the one that tests emulate has
        // kernels of its own.
        let functions = functions
            .map_err(|fault| if CAPABILITIES == NONE { DeviceFault::NoKernels } else { fault })?;
        Ok(Self { functions, name, capability, multiprocessors })
    }

    fn functions(
        context: &Arc<CudaContext>,
        name: &str,
        capability: &str,
    ) -> Result<HashMap<&'static str, CudaFunction>, DeviceFault> {
        let module = match context.load_module(Ptx::from_binary(KERNELS.to_vec())) {
            Err(DriverError(
                CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
                | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
                | CUresult::CUDA_ERROR_INVALID_PTX,
            )) => {
                let (device, found) = (name.to_owned(), capability.to_owned());
                return Err(DeviceFault::Capability { device, found });
            }
            module => module.map_err(driver("loading the kernels"))?,
        };
        let mut functions = HashMap::new();
        for kernel in super::launch::KERNELS {
            let function = module.load_function(kernel).map_err(driver(kernel))?;
            functions.insert(*kernel, function);
        }
        Ok(functions)
    }

    /// Puts a launch on a stream of the device.
    ///
    /// # Safety
    /// The launch's places must lie in the memories of the bases.
    pub(crate) unsafe fn launch(
        &self,
        stream: &CudaStream,
        launch: &Launch,
        bases: &Bases,
    ) -> Result<(), DeviceFault> {
        let Launch { kernel, grid: [x, y, z], threads, .. } = launch;
        let argument = launch.argument(bases);
        let function = &self.functions[kernel];
        let mut builder = stream.launch_builder(function);
        // The driver copies as many bytes as the kernel's one parameter has, which are those of the
        // words but for padding at the end.
        builder.arg(&argument[0]);
        let config = LaunchConfig {
            grid_dim: (*x, *y, *z),
            block_dim: (*threads, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the caller's promise; the argument is the kernel's structure, and grid and threads
        // are those it is written for.
        unsafe { builder.launch(config) }.map_err(driver(kernel))?;
        Ok(())
    }
}

/// A device with the kernels loaded.
#[derive(Debug)]
pub struct Device {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    kernels: Kernels,
}

impl Device {
    /// Opens device `ordinal`.
    ///
    /// # Errors
    /// [`DeviceFault`]: no driver, no device, or one that the kernels are not compiled for.
    pub fn open(ordinal: usize) -> Result<Self, DeviceFault> {
        // With candle's CUDA the program is linked with the driver.
        #[cfg(not(feature = "candle-cuda"))]
        // SAFETY: loads the driver's library and nothing else, whose initialisers are the vendor's.
        if !unsafe { sys::is_culib_present() } {
            return Err(DeviceFault::NoDriver);
        }
        let context = CudaContext::new(ordinal)
            .map_err(|error| DeviceFault::NoDevice { ordinal, why: says(error) })?;
        // SAFETY: everything of this device happens on one stream, in its order.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(driver("a stream"))?;
        let kernels = Kernels::load(&context)?;
        Ok(Self { context, stream, kernels })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.kernels.name
    }

    /// Its compute capability, 87 for 8.7.
    #[must_use]
    pub fn capability(&self) -> &str {
        &self.kernels.capability
    }

    /// Its multiprocessors.
    #[must_use]
    pub fn multiprocessors(&self) -> usize {
        self.kernels.multiprocessors
    }
}

/// Addresses of shared weights, of what a sub-network has of its own, and of the arena.
fn bases(stream: &CudaStream, memories: [&CudaSlice<f32>; 3]) -> Bases {
    let [weights, own, arena] = memories.map(|slice| slice.device_ptr(stream).0);
    Bases { weights, own, arena, ..Bases::default() }
}

/// Switches the sub-network of a [`DeviceNetwork`], from any thread.
#[derive(Debug, Clone)]
pub struct Selector {
    selected: Arc<AtomicUsize>,
    count: usize,
}

impl Selector {
    /// Switches: [`DeviceNetwork::run_selected`] runs this one from its next call on.
    ///
    /// # Errors
    /// [`RunFault::Index`]; the one before stays.
    #[inline]
    pub fn select(&self, index: usize) -> Result<(), RunFault> {
        if index >= self.count {
            return Err(RunFault::Index { index, last: self.count.saturating_sub(1) });
        }
        self.selected.store(index, Ordering::Relaxed);
        Ok(())
    }
}

/// A super-network on a device, for one number of images a call.
pub struct DeviceNetwork {
    // The graphs go before the memory that they use.
    ready: Vec<(Program, CudaGraph)>,
    arena: CudaSlice<f32>,
    resident: Vec<CudaSlice<f32>>,
    images: PinnedHostSlice<f32>,
    found: PinnedHostSlice<f32>,
    logits: Vec<f32>,
    classes: usize,
    selector: Selector,
    device: Device,
}

impl fmt::Debug for DeviceNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs: Vec<_> = self.ready.iter().map(|(program, _)| program).collect();
        f.debug_struct("DeviceNetwork")
            .field("device", &self.device)
            .field("programs", &programs)
            .finish_non_exhaustive()
    }
}

impl DeviceNetwork {
    /// Loads the weights of a network once, and captures a graph of each sub-network for `images` a
    /// call. Every image goes to the end: early exits with a threshold below 1 are refused.
    ///
    /// # Errors
    /// [`DeviceFault`], also where the memory of the device is too small; [`RunFault::Exits`].
    pub fn new(device: Device, network: &Network, images: usize) -> Result<Self, DeviceFault> {
        let Device { stream, context, kernels } = &device;
        let upload = |values: &[f32]| stream.clone_htod(values).map_err(driver("weights"));
        let programs = (0..network.len())
            .map(|index| network.program(index, images, device.multiprocessors()))
            .collect::<Result<Vec<_>, _>>()?;
        let most = |of: fn(&Program) -> usize| programs.iter().map(of).max().unwrap_or(0).max(1);
        let arena_len = most(|program| program.arena);
        let arena = stream.alloc_zeros::<f32>(arena_len).map_err(driver("feature maps"))?;
        let mut resident = vec![upload(network.shared_values())?];
        for index in 0..network.len() {
            resident.push(upload(network.own_values(index).unwrap_or_default())?);
        }
        let mut ready = Vec::with_capacity(programs.len());
        for (program, own) in programs.into_iter().zip(&resident[1..]) {
            let bases = bases(stream, [&resident[0], own, &arena]);
            let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
            stream.begin_capture(mode).map_err(driver("capture"))?;
            let mut captured = Ok(());
            for launch in &program.launches {
                // SAFETY: places of a program lie in the memories that it was made for, whose lengths
                // the allocations above have.
                captured =
                    captured.and_then(|()| unsafe { kernels.launch(stream, launch, &bases) });
            }
            // Also after a fault, so that the stream is of use again.
            let graph = stream.end_capture(CUgraphInstantiate_flags(0)).map_err(driver("capture"));
            captured?;
            let graph = graph?.ok_or_else(|| DeviceFault::Driver {
                what: "capture".into(),
                why: "no graph".into(),
            })?;
            graph.upload().map_err(driver("graph"))?;
            ready.push((program, graph));
        }
        let input = ready.iter().map(|(program, _)| program.input_len).max().unwrap_or(0).max(1);
        let output = images * ready.iter().map(|(p, _)| p.output_step).max().unwrap_or(1);
        let pinned = |len| -> Result<PinnedHostSlice<f32>, DeviceFault> {
            // SAFETY: filled with zeros before anything reads it.
            let mut slice = unsafe { context.alloc_pinned_with_flags::<f32>(len, 0) }
                .map_err(driver("host memory"))?;
            slice.as_mut_slice().map_err(driver("host memory"))?.fill(0.0);
            Ok(slice)
        };
        let (input, found) = (pinned(input)?, pinned(output)?);
        stream.synchronize().map_err(driver("loading"))?;
        let classes = network.layout().family().classes;
        let selector = Selector { selected: Arc::default(), count: network.len() };
        let logits = vec![0.0; images * classes];
        Ok(Self { ready, arena, resident, images: input, found, logits, classes, selector, device })
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes on the device: weights, what the sub-networks have of their own, feature maps.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        self.arena.num_bytes() + self.resident.iter().map(CudaSlice::num_bytes).sum::<usize>()
    }

    /// The program of a sub-network.
    #[must_use]
    pub fn program(&self, index: usize) -> Option<&Program> {
        self.ready.get(index).map(|(program, _)| program)
    }

    /// What switches sub-networks.
    #[must_use]
    pub fn selector(&self) -> Selector {
        self.selector.clone()
    }

    /// Runs the sub-network that is switched to; see [`Self::run`].
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_selected(&mut self, images: &[f32]) -> Result<&[f32], DeviceFault> {
        self.run(self.selector.selected.load(Ordering::Relaxed), images)
    }

    /// Runs sub-network `index` on images `[images][height][width][channels]` of the host and gives
    /// the logits `[images][classes]`: copy, graph, copy.
    ///
    /// # Errors
    /// No such sub-network, not as many images as the network was loaded for, or a fault of the device.
    pub fn run(&mut self, index: usize, images: &[f32]) -> Result<&[f32], DeviceFault> {
        self.put(index, images)?;
        let (program, graph) = &self.ready[index];
        graph.launch().map_err(driver("graph"))?;
        let stream = &self.device.stream;
        let len = program.images * program.output_step;
        let view = self.arena.slice(program.output.at..program.output.at + len);
        stream.memcpy_dtoh(&view, &mut self.found).map_err(driver("logits"))?;
        stream.synchronize().map_err(driver("run"))?;
        let found = self.found.as_slice().map_err(driver("logits"))?;
        let rows = found[..len].chunks_exact(program.output_step);
        for (row, logits) in rows.zip(self.logits.chunks_exact_mut(self.classes)) {
            logits.copy_from_slice(&row[..self.classes]);
        }
        Ok(&self.logits)
    }

    /// Puts images where sub-network `index` reads them.
    fn put(&mut self, index: usize, images: &[f32]) -> Result<(), DeviceFault> {
        let last = self.ready.len().saturating_sub(1);
        let (program, _) = self.ready.get(index).ok_or(RunFault::Index { index, last })?;
        if images.len() != program.input_len {
            let expected = program.input_len;
            return Err(RunFault::Images { found: images.len(), expected }.into());
        }
        let (at, len) = (program.input.at, images.len());
        let host = self.images.as_mut_slice().map_err(driver("images"))?;
        host[..len].copy_from_slice(images);
        let mut view = self.arena.slice_mut(at..at + len);
        // A view of the pinned values: the copy is then one of pinned memory.
        let stream = &self.device.stream;
        stream.memcpy_htod(&host[..len], &mut view).map_err(driver("images"))
    }

    /// Runs sub-network `index` launch by launch, not as a graph, in an arena that is NaN but for the
    /// images, and gives `seen` each tensor as soon as it is written: the kernel, what it is, and the
    /// values of all images, which it may change for the launches that follow. For comparisons.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn each_tensor(
        &mut self,
        index: usize,
        images: &[f32],
        mut seen: impl FnMut(&'static str, &Written, &mut [f32]),
    ) -> Result<(), DeviceFault> {
        let stream = Arc::clone(&self.device.stream);
        let nothing = vec![f32::NAN; self.arena.len()];
        stream.memcpy_htod(&nothing, &mut self.arena).map_err(driver("feature maps"))?;
        self.put(index, images)?;
        let (program, _) = &self.ready[index];
        let bases = bases(&stream, [&self.resident[0], &self.resident[index + 1], &self.arena]);
        let mut written = program.written.iter().peekable();
        for (number, launch) in program.launches.iter().enumerate() {
            // SAFETY: as in `new`.
            unsafe { self.device.kernels.launch(&stream, launch, &bases) }?;
            while let Some(written) = written.next_if(|written| written.launch == number) {
                let at = written.place.at;
                let mut view = self.arena.slice_mut(at..at + program.images * written.step());
                let mut values = stream.clone_dtoh(&view).map_err(driver(written.what))?;
                stream.synchronize().map_err(driver(launch.kernel))?;
                seen(launch.kernel, written, &mut values);
                stream.memcpy_htod(&values, &mut view).map_err(driver(written.what))?;
            }
        }
        stream.synchronize().map_err(driver("run"))
    }

    /// Times of the graph of sub-network `index` alone, on images that are on the device already, as
    /// the device's events take them: `runs` times.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn graph_times(
        &mut self,
        index: usize,
        images: &[f32],
        runs: usize,
    ) -> Result<Vec<Duration>, DeviceFault> {
        self.put(index, images)?;
        let (_, graph) = &self.ready[index];
        let stream = &self.device.stream;
        let event = || stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        (0..runs)
            .map(|_| {
                let start = event().map_err(driver("event"))?;
                graph.launch().map_err(driver("graph"))?;
                let end = event().map_err(driver("event"))?;
                end.synchronize().map_err(driver("run"))?;
                let time = start.elapsed_ms(&end).map_err(driver("event"))?;
                Ok(Duration::from_secs_f64(f64::from(time) / 1e3))
            })
            .collect()
    }
}
