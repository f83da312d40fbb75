//! Depthwise convolution, forward and backward.
//!
//! Odd kernel `k`, padding `k/2`, stride 1 or 2. Weights are `[k·k, channels]`: one row of
//! channels a tap.

use super::simd::dispatched;

/// Shape of a depthwise convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Images.
    pub batch: usize,
    /// Height in.
    pub height: usize,
    /// Width in.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
}

impl Shape {
    /// Height out.
    #[must_use]
    pub fn out_height(&self) -> usize {
        self.height.div_ceil(self.stride)
    }

    /// Width out.
    #[must_use]
    pub fn out_width(&self) -> usize {
        self.width.div_ceil(self.stride)
    }

    /// Elements in.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Elements out.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.channels
    }
}

/// Range of taps of one axis that fall into the image at output place `place`, and the input
/// place of the first of them.
#[inline(always)]
fn taps(place: usize, stride: usize, kernel: usize, length: usize) -> (usize, usize, usize) {
    let padding = kernel / 2;
    let start = place * stride;
    let first = padding.saturating_sub(start);
    let last = kernel.min(length + padding - start);
    (first, last, start + first - padding)
}

dispatched! {
    /// `y = x ∗ w`.
    pub fn forward(x: &[f32], weight: &[f32], shape: Shape, y: &mut [f32]) {
        let Shape { batch, height, width, channels, kernel, stride } = shape;
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        for image in 0..batch {
            let x = &x[image * height * width * channels..][..height * width * channels];
            for row in 0..out_height {
                let (first_row, last_row, in_row) = taps(row, stride, kernel, height);
                for column in 0..out_width {
                    let (first, last, in_column) = taps(column, stride, kernel, width);
                    let place = ((image * out_height + row) * out_width + column) * channels;
                    let out = &mut y[place..][..channels];
                    out.fill(0.0);
                    for tap_row in first_row..last_row {
                        for tap in first..last {
                            let pixel = (in_row + tap_row - first_row) * width + in_column + tap - first;
                            let x = &x[pixel * channels..][..channels];
                            let w = &weight[(tap_row * kernel + tap) * channels..][..channels];
                            for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
                                *out = x.mul_add(*w, *out);
                            }
                        }
                    }
                }
            }
        }
    }
}

dispatched! {
    /// `dx = dy ∗ wᵀ` and `dw += x ⋆ dy`; `dx` is overwritten.
    pub fn backward(
        dy: &[f32],
        x: &[f32],
        weight: &[f32],
        shape: Shape,
        dx: &mut [f32],
        dweight: &mut [f32],
    ) {
        let Shape { batch, height, width, channels, kernel, stride } = shape;
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        dx.fill(0.0);
        for image in 0..batch {
            let base = image * height * width * channels;
            let x = &x[base..][..height * width * channels];
            let dx = &mut dx[base..][..height * width * channels];
            for row in 0..out_height {
                let (first_row, last_row, in_row) = taps(row, stride, kernel, height);
                for column in 0..out_width {
                    let (first, last, in_column) = taps(column, stride, kernel, width);
                    let place = ((image * out_height + row) * out_width + column) * channels;
                    let dy = &dy[place..][..channels];
                    for tap_row in first_row..last_row {
                        for tap in first..last {
                            let pixel = (in_row + tap_row - first_row) * width + in_column + tap - first;
                            let x = &x[pixel * channels..][..channels];
                            let dx = &mut dx[pixel * channels..][..channels];
                            let at = (tap_row * kernel + tap) * channels;
                            let w = &weight[at..][..channels];
                            let dw = &mut dweight[at..][..channels];
                            for c in 0..channels {
                                dx[c] = dy[c].mul_add(w[c], dx[c]);
                                dw[c] = dy[c].mul_add(x[c], dw[c]);
                            }
                        }
                    }
                }
            }
        }
    }
}
