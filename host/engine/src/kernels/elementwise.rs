//! Batch normalisation and activations over `[pixels, channels]`.

use super::simd::dispatched;
use crate::family::Activation;

dispatched! {
    /// Mean and variance of each channel.
    pub fn moments(y: &[f32], mean: &mut [f32], variance: &mut [f32]) {
        let channels = mean.len();
        let pixels = (y.len() / channels) as f32;
        mean.fill(0.0);
        for row in y.chunks_exact(channels) {
            for (sum, y) in mean.iter_mut().zip(row) {
                *sum += y;
            }
        }
        for sum in mean.iter_mut() {
            *sum /= pixels;
        }
        variance.fill(0.0);
        for row in y.chunks_exact(channels) {
            for ((sum, y), mean) in variance.iter_mut().zip(row).zip(mean.iter()) {
                *sum += (y - mean) * (y - mean);
            }
        }
        for sum in variance.iter_mut() {
            *sum /= pixels;
        }
    }
}

/// The activation of one value; its name in the description.
#[inline(always)]
fn activate(z: f32, activation: Option<Activation>) -> f32 {
    match activation {
        None => z,
        Some(Activation::Relu) => z.max(0.0),
        Some(Activation::HSwish) => z * (z + 3.0).clamp(0.0, 6.0) / 6.0,
    }
}

/// Its derivative.
#[inline(always)]
fn slope(z: f32, activation: Option<Activation>) -> f32 {
    match activation {
        None => 1.0,
        Some(Activation::Relu) => {
            if z > 0.0 {
                1.0
            } else {
                0.0
            }
        }
        Some(Activation::HSwish) => {
            if z <= -3.0 {
                0.0
            } else if z >= 3.0 {
                1.0
            } else {
                (2.0 * z + 3.0) / 6.0
            }
        }
    }
}

dispatched! {
    /// `out = activation(scale·y + shift)`, channel by channel.
    pub fn scale_shift(y: &[f32], scale: &[f32], shift: &[f32], activation: Option<Activation>, out: &mut [f32]) {
        let channels = scale.len();
        for (y, out) in y.chunks_exact(channels).zip(out.chunks_exact_mut(channels)) {
            for c in 0..channels {
                out[c] = activate(y[c].mul_add(scale[c], shift[c]), activation);
            }
        }
    }
}

dispatched! {
    /// Backward through activation and batch normalisation with batch statistics. `d` holds the
    /// gradient of the output and receives that of `y`; `dgamma` and `dbeta` are added to.
    pub fn norm_backward(
        y: &[f32],
        mean: &[f32],
        inverse: &[f32],
        gamma: &[f32],
        beta: &[f32],
        activation: Option<Activation>,
        d: &mut [f32],
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        let channels = mean.len();
        let pixels = (y.len() / channels) as f32;
        let mut sum = vec![0.0_f32; channels];
        let mut sum_normal = vec![0.0_f32; channels];
        for (y, d) in y.chunks_exact(channels).zip(d.chunks_exact_mut(channels)) {
            for c in 0..channels {
                let normal = (y[c] - mean[c]) * inverse[c];
                let dz = d[c] * slope(normal.mul_add(gamma[c], beta[c]), activation);
                d[c] = dz;
                sum[c] += dz;
                sum_normal[c] += dz * normal;
            }
        }
        for c in 0..channels {
            dgamma[c] += sum_normal[c];
            dbeta[c] += sum[c];
            sum[c] /= pixels;
            sum_normal[c] /= pixels;
        }
        for (y, d) in y.chunks_exact(channels).zip(d.chunks_exact_mut(channels)) {
            for c in 0..channels {
                let normal = (y[c] - mean[c]) * inverse[c];
                d[c] = gamma[c] * inverse[c] * (d[c] - sum[c] - normal * sum_normal[c]);
            }
        }
    }
}

dispatched! {
    /// Backward through an activation alone; `z` is its input.
    pub fn activation_backward(z: &[f32], activation: Activation, d: &mut [f32]) {
        for (d, z) in d.iter_mut().zip(z) {
            *d *= slope(*z, Some(activation));
        }
    }
}
