//! The kernels as operators of candle graphs, with gradients.
//!
//! For training and tests, and for mixing with layers of candle's own, on the CPU: on a GPU only those
//! of [`crate::candle_blocked`] run, without gradients there. Feature maps are
//! `[batch, height, width, channels]`, as in [`crate::kernels`].

#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Error, Layout, Result, Shape, Tensor, WithDType, bail};

use crate::kernels::{depthwise, pointwise};

/// Depthwise convolution of `x` `[batch, height, width, channels]` with `weight`
/// `[kernel·kernel, channels]`, padding `kernel/2`.
///
/// # Errors
/// Where the shapes do not fit, the kernel is even, the stride not 1 or 2, or a tensor is neither
/// on the CPU nor of `f32`.
pub fn depthwise(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weight.contiguous()?, Depthwise { stride })
}

/// Pointwise convolution of `x` `[…, inputs]` with `weight` `[outputs, row]`, `row ≥ inputs`: the
/// first `inputs` columns are used in place.
///
/// # Errors
/// Where the shapes do not fit or a tensor is neither on the CPU nor of `f32`.
pub fn pointwise(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weight.contiguous()?, Pointwise)
}

struct Depthwise {
    stride: usize,
}

struct Pointwise;

/// The values of a contiguous tensor of `f32`.
pub(crate) fn values<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
    name: &str,
) -> Result<&'a [f32]> {
    let (start, end) =
        layout.contiguous_offsets().ok_or_else(|| Error::Msg(format!("{name}: not contiguous")))?;
    match storage {
        CpuStorage::F32(data) => Ok(&data[start..end]),
        other => bail!("{name}: {:?} where f32 goes", other.dtype_name()),
    }
}

#[cfg(feature = "candle-cuda")]
fn cpu_only(name: &str) -> Result<(CudaStorage, Shape)> {
    bail!("{name}: training's operators run on the CPU; candle_blocked has those of inference");
}

trait DtypeName {
    fn dtype_name(&self) -> candle_core::DType;
}

impl DtypeName for CpuStorage {
    fn dtype_name(&self) -> candle_core::DType {
        candle_core::backend::BackendStorage::dtype(self)
    }
}

/// The kernel of a depthwise weight `[kernel·kernel, channels]`: odd, and the stride 1 or 2.
pub(crate) fn depthwise_kernel(
    name: &str,
    weight: &Shape,
    channels: usize,
    stride: usize,
) -> Result<usize> {
    let (taps, weight_channels) = weight.dims2()?;
    let kernel = taps.isqrt();
    if kernel * kernel != taps || kernel % 2 == 0 || weight_channels != channels {
        bail!("{name}: weight {weight:?} where [k·k, {channels}] with odd k goes");
    }
    check_stride(name, stride)?;
    Ok(kernel)
}

pub(crate) fn check_stride(name: &str, stride: usize) -> Result<()> {
    if !matches!(stride, 1 | 2) {
        bail!("{name}: stride {stride} where 1 or 2 goes");
    }
    Ok(())
}

/// Outputs and columns of a pointwise weight `[outputs, row]`, of which so many inputs use the first
/// columns.
pub(crate) fn pointwise_weight(
    name: &str,
    weight: &Shape,
    inputs: usize,
) -> Result<(usize, usize)> {
    let (outputs, row) = weight.dims2()?;
    if inputs == 0 || inputs > row {
        bail!("{name}: {inputs} channels where 1 to at most {row} go");
    }
    Ok((outputs, row))
}

impl Depthwise {
    fn shape(&self, x: &Shape, weight: &Shape) -> Result<depthwise::Shape> {
        let (batch, height, width, channels) = x.dims4()?;
        let kernel = depthwise_kernel("depthwise", weight, channels, self.stride)?;
        Ok(depthwise::Shape { batch, height, width, channels, kernel, stride: self.stride })
    }
}

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "coshift-depthwise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = self.shape(x_layout.shape(), weight_layout.shape())?;
        let x = values(x, x_layout, "depthwise input")?;
        let weight = values(weight, weight_layout, "depthwise weight")?;
        let mut y = vec![0.0; shape.output_len()];
        depthwise::forward(x, weight, shape, &mut y);
        let out = (shape.batch, shape.out_height(), shape.out_width(), shape.channels);
        Ok((f32::to_cpu_storage_owned(y), Shape::from(out)))
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cpu_only(self.name())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let shape = self.shape(x.shape(), weight.shape())?;
        let [dy, x_values, w_values] = [dy, x, weight].map(|t| t.flatten_all()?.to_vec1::<f32>());
        let (dy, x_values, w_values) = (dy?, x_values?, w_values?);
        let mut dx = vec![0.0; x_values.len()];
        let mut dweight = vec![0.0; w_values.len()];
        depthwise::backward(&dy, &x_values, &w_values, shape, &mut dx, &mut dweight);
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(dweight, weight.shape(), weight.device())?),
        ))
    }
}

/// Channels of a map, and outputs and columns of a pointwise weight that fits it.
fn pointwise_sizes(x: &Shape, weight: &Shape) -> Result<(usize, usize, usize)> {
    let inputs = x.dims().last().copied().unwrap_or(0);
    let (outputs, row) = pointwise_weight("pointwise", weight, inputs)?;
    Ok((inputs, outputs, row))
}

impl CustomOp2 for Pointwise {
    fn name(&self) -> &'static str {
        "coshift-pointwise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (inputs, outputs, row) = pointwise_sizes(x_layout.shape(), weight_layout.shape())?;
        let x = values(x, x_layout, "pointwise input")?;
        let weight = values(weight, weight_layout, "pointwise weight")?;
        let mut y = vec![0.0; x.len() / inputs * outputs];
        pointwise::forward(x, weight, row, inputs, outputs, &mut y);
        let mut dims = x_layout.shape().dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = outputs;
        }
        Ok((f32::to_cpu_storage_owned(y), Shape::from(dims)))
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cpu_only(self.name())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (inputs, outputs, row) = pointwise_sizes(x.shape(), weight.shape())?;
        let [dy, x_values, w_values] = [dy, x, weight].map(|t| t.flatten_all()?.to_vec1::<f32>());
        let (dy, x_values, w_values) = (dy?, x_values?, w_values?);
        let mut dx = vec![0.0; x_values.len()];
        let mut dweight = vec![0.0; w_values.len()];
        pointwise::backward_input(&dy, &w_values, row, inputs, outputs, &mut dx);
        pointwise::backward_weight(&dy, &x_values, row, inputs, outputs, &mut dweight);
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(dweight, weight.shape(), weight.device())?),
        ))
    }
}
