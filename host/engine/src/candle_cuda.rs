//! The operators of inference in candle graphs on NVIDIA GPUs (feature `candle-cuda`).
//!
//! [`crate::candle_blocked`] comes here with tensors of [`candle_core::Device::Cuda`], and a whole
//! sub-network is a [`Resident`]. Everything goes onto candle's own stream, in memory that candle
//! allocates; nothing waits for the device.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DevicePtr, DevicePtrMut};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, DType, Device, Error, Layout, Result, Shape, Tensor, bail,
};

use crate::candle_blocked::check_images;
use crate::cuda::device::Kernels;
use crate::cuda::launch::{Bases, Launch, Place, Space};
use crate::cuda::operators::{Launches, Operator};
use crate::cuda::plain::FromBlocks;
use crate::network::Network;

fn named(name: &str, fault: impl fmt::Display) -> Error {
    Error::Msg(format!("{name}: {fault}"))
}

/// The kernels on a device, loaded by the first operator and kept for the life of the process.
fn kernels(device: &CudaDevice, name: &str) -> Result<Arc<Kernels>> {
    // By the number of the GPU: all contexts that candle makes for it are its primary one.
    static LOADED: Mutex<BTreeMap<usize, Arc<Kernels>>> = Mutex::new(BTreeMap::new());
    let stream = device.cuda_stream();
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kernels) = loaded.get(&stream.context().ordinal()) {
        return Ok(Arc::clone(kernels));
    }
    let kernels = Kernels::load(stream.context()).map_err(|fault| named(name, fault))?;
    let kernels = Arc::new(kernels);
    loaded.insert(stream.context().ordinal(), Arc::clone(&kernels));
    Ok(kernels)
}

/// The values of a contiguous tensor of `f32`.
fn values<'a>(storage: &'a CudaStorage, layout: &Layout, name: &str) -> Result<CudaView<'a, f32>> {
    if storage.dtype() != DType::F32 {
        bail!("{name}: {:?} where f32 goes", storage.dtype());
    }
    let offsets = layout.contiguous_offsets();
    let (start, end) = offsets.ok_or_else(|| named(name, "not contiguous"))?;
    Ok(storage.as_cuda_slice::<f32>()?.slice(start..end))
}

/// Room for so many values, which nothing reads before it is written.
fn room(device: &CudaDevice, values: usize) -> Result<CudaSlice<f32>> {
    // SAFETY: the launches of operators and programs read only what those before them wrote; the tests
    // run them in memory that starts as NaN.
    unsafe { device.alloc::<f32>(values.max(1)) }
}

/// Puts an operator onto the stream of its tensors and gives its result.
pub(crate) fn run(
    name: &str,
    operator: &impl Operator,
    arguments: &[(&CudaStorage, &Layout)],
) -> Result<CudaStorage> {
    let views = arguments.iter().map(|(storage, layout)| values(storage, layout, name));
    let views = views.collect::<Result<Vec<_>>>()?;
    let Some((first, _)) = arguments.first() else { bail!("{name}: no argument") };
    let device = first.device();
    let kernels = kernels(device, name)?;
    let Launches { launches, scratch, output } =
        operator.launches(kernels.multiprocessors).map_err(|fault| named(name, fault))?;
    let (mut y, mut arena) = (room(device, output)?, room(device, scratch)?);
    let stream = device.cuda_stream();
    {
        // What else uses these memories on other streams is waited for by this one, and the other way
        // round when `uses` go.
        let (mut bases, mut uses) = (Bases::default(), Vec::new());
        for (view, to) in views.iter().zip(&mut bases.tensors) {
            let (address, r#use) = view.device_ptr(&stream);
            *to = address;
            uses.push(r#use);
        }
        let (address, result) = y.device_ptr_mut(&stream);
        bases.tensors[views.len()] = address;
        let (address, own) = arena.device_ptr_mut(&stream);
        bases.arena = address;
        uses.extend([result, own]);
        for launch in &launches {
            // SAFETY: the launches are of the sizes that the tensors have, and of the memory above.
            unsafe { kernels.launch(&stream, launch, &bases) }
                .map_err(|fault| named(name, fault))?;
        }
    }
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// A super-network whose weights are on a GPU, as an operator of candle graphs.
pub struct Resident {
    network: Arc<Network>,
    device: CudaDevice,
    kernels: Arc<Kernels>,
    weights: CudaSlice<f32>,
    own: Vec<CudaSlice<f32>>,
}

impl fmt::Debug for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = &self.network.layout().family().name;
        let (device, bytes) = (&self.device, self.resident_bytes());
        f.debug_struct("Resident")
            .field("family", family)
            .field("device", device)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

const NAME: &str = "coshift-sub-network";

impl Resident {
    /// Puts the weights of a network onto a device, once for all its sub-networks.
    ///
    /// # Errors
    /// A device that is not CUDA, one that the kernels are not compiled for, or too little memory.
    pub fn new(network: &Arc<Network>, device: &Device) -> Result<Self> {
        let Device::Cuda(device) = device else {
            bail!("{NAME}: {:?} where a CUDA device goes", device.location());
        };
        let kernels = kernels(device, NAME)?;
        let weights = device.clone_htod(network.shared_values())?;
        let own = (0..network.len())
            .map(|index| device.clone_htod(network.own_values(index).unwrap_or_default()))
            .collect::<Result<_>>()?;
        Ok(Self { network: Arc::clone(network), device: device.clone(), kernels, weights, own })
    }

    /// Bytes of the weights and of what the sub-networks have of their own.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        self.weights.num_bytes() + self.own.iter().map(CudaSlice::num_bytes).sum::<usize>()
    }

    /// Sub-network `index`: images `[batch, height, width, channels]` to logits `[batch, classes]`.
    /// No image leaves early: exits with a threshold below 1 are an error.
    ///
    /// # Errors
    /// Images of another size, on another device or not of `f32`, no such sub-network, a fault of the
    /// device; images that candle tracks for gradients, which there are none of.
    pub fn run(&self, index: usize, images: &Tensor) -> Result<Tensor> {
        if images.track_op() {
            bail!("{NAME}: a whole sub-network has no gradients; detach() the images");
        }
        images.contiguous()?.apply_op1_no_bwd(&SubNetwork { resident: self, index })
    }
}

struct SubNetwork<'a> {
    resident: &'a Resident,
    index: usize,
}

impl CustomOp1 for SubNetwork<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{NAME}: images on the CPU where the weights are on a GPU");
    }

    fn cuda_fwd(&self, images: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let Resident { network, device, kernels, weights, own } = self.resident;
        let batch = check_images(layout.shape(), network, self.index, NAME)?;
        let images_view = values(images, layout, NAME)?;
        if images.device().id() != device.id() {
            bail!("{NAME}: images on {:?}, weights on {device:?}", images.device());
        }
        let program = network
            .program(self.index, batch, kernels.multiprocessors)
            .map_err(|fault| named(NAME, fault))?;
        let classes = network.layout().family().classes;
        let (mut y, mut arena) = (room(device, batch * classes)?, room(device, program.arena)?);
        let input = program.input.at..program.input.at + program.input_len;
        device.memcpy_dtod(&images_view, &mut arena.slice_mut(input))?;
        let stream = device.cuda_stream();
        {
            let (weights, _shared) = weights.device_ptr(&stream);
            let (own, _folded) = own[self.index].device_ptr(&stream);
            let (arena, _maps) = arena.device_ptr_mut(&stream);
            let (logits, _result) = y.device_ptr_mut(&stream);
            let bases = Bases { weights, own, arena, tensors: [logits, 0, 0, 0] };
            let rows = FromBlocks {
                x: program.output,
                y: Place { space: Space::Tensor(0), at: 0 },
                images: batch,
                pixels: 1,
                channels: classes,
            };
            let launch = |launch: &Launch| {
                // SAFETY: places of a program lie in the memories that it was made for: the weights,
                // what this sub-network has of its own, and the arena above.
                unsafe { kernels.launch(&stream, launch, &bases) }
                    .map_err(|fault| named(NAME, fault))
            };
            program.launches.iter().try_for_each(launch)?;
            launch(&rows.launch())?;
        }
        let logits = CudaStorage::wrap_cuda_slice(y, device.clone());
        Ok((logits, Shape::from((batch, classes))))
    }
}
