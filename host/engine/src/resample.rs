//! Images at the resolution of a sub-network: bilinear, as PyTorch's `interpolate` with
//! `align_corners=False` and without antialiasing.

use std::borrow::Cow;

use crate::family::{Family, SubNet};

/// Brings images of one size to another one.
#[derive(Debug, Clone)]
pub struct Resampler {
    from: usize,
    channels: usize,
    /// Of each row or column of the result, the two it lies between and the second one's part.
    taps: Vec<(usize, usize, f32)>,
}

impl Resampler {
    /// From `from`×`from` pixels of so many channels to `to`×`to`. Centres of pixels lie on centres:
    /// that of number i at `(i + ½)·from/to − ½`, at least 0.
    ///
    /// # Panics
    /// If a size is 0.
    #[must_use]
    pub fn new(from: usize, to: usize, channels: usize) -> Self {
        assert!(from > 0 && to > 0 && channels > 0, "images of {from}, {to}, {channels}");
        let tap = |place: usize| {
            let at = ((place as f32 + 0.5) * (from as f32 / to as f32) - 0.5).max(0.0);
            let low = (at as usize).min(from - 1);
            (low, (low + 1).min(from - 1), at - low as f32)
        };
        Self { from, channels, taps: (0..to).map(tap).collect() }
    }

    /// For a sub-network; `None` = it takes images as the family does.
    #[must_use]
    pub fn of(family: &Family, net: &SubNet) -> Option<Self> {
        let (from, to) = (family.resolution, family.side(net));
        (from != to).then(|| Self::new(from, to, family.image_channels))
    }

    /// Appends the images `[count, from, from, channels]` at the new size to `out`, which allocates
    /// only where it lacks room.
    ///
    /// # Panics
    /// If the images are not whole.
    pub fn append(&self, images: &[f32], out: &mut Vec<f32>) {
        let (row, channels) = (self.from * self.channels, self.channels);
        let len = row * self.from;
        assert!(images.len().is_multiple_of(len), "images: {} values of {len} each", images.len());
        for image in images.chunks_exact(len) {
            for &(above, below, down) in &self.taps {
                let (above, below) = (&image[above * row..][..row], &image[below * row..][..row]);
                for &(left, right, across) in &self.taps {
                    let between = |line: &[f32], channel: usize| {
                        let (left, right) =
                            (line[left * channels + channel], line[right * channels + channel]);
                        left + across * (right - left)
                    };
                    out.extend((0..channels).map(|channel| {
                        let (above, below) = (between(above, channel), between(below, channel));
                        above + down * (below - above)
                    }));
                }
            }
        }
    }
}

/// Images `[count, height, width, channels]` of a family's `resolution` as a sub-network takes them.
///
/// # Panics
/// If the images are not whole and the sub-network takes others.
#[must_use]
pub fn resampled<'a>(images: &'a [f32], family: &Family, net: &SubNet) -> Cow<'a, [f32]> {
    let Some(resampler) = Resampler::of(family, net) else { return Cow::Borrowed(images) };
    let mut out = Vec::new();
    resampler.append(images, &mut out);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::Resampler;

    fn at(from: usize, to: usize, channels: usize, images: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        Resampler::new(from, to, channels).append(images, &mut out);
        out
    }

    // Of `torch.nn.functional.interpolate(x, size=N, mode="bilinear", align_corners=False)`.
    #[test]
    fn as_pytorch_does_it() {
        let x = [0.0, 3.0, 6.0, 9.0];
        let wanted = [
            0.0, 0.75, 2.25, 3.0, 1.5, 2.25, 3.75, 4.5, //
            4.5, 5.25, 6.75, 7.5, 6.0, 6.75, 8.25, 9.0,
        ];
        assert_eq!(at(2, 4, 1, &x), wanted);
        let x: Vec<f32> = (0..9).map(|value| value as f32).collect();
        assert_eq!(at(3, 2, 1, &x), [1.0, 2.5, 5.5, 7.0]);
        assert_eq!(at(3, 3, 1, &x), x);
        assert_eq!(at(3, 1, 1, &x), [4.0]);
        assert_eq!(at(1, 2, 1, &[7.0]), [7.0; 4]);
    }

    #[test]
    fn channels_and_images_stay_apart() {
        let plane =
            |seed: f32| (0..25).map(|value| seed * (value * value) as f32).collect::<Vec<_>>();
        let planes = [plane(1.0), plane(-2.0), plane(0.5), plane(3.0)];
        // Two images of two channels.
        let mixed: Vec<f32> = (0..2)
            .flat_map(|image| (0..25).map(move |pixel| (image, pixel)))
            .flat_map(|(image, pixel)| [planes[2 * image][pixel], planes[2 * image + 1][pixel]])
            .collect();
        let out = at(5, 8, 2, &mixed);
        for (place, plane) in planes.iter().enumerate() {
            let found: Vec<f32> =
                out[place / 2 * 128..][..128].iter().skip(place % 2).step_by(2).copied().collect();
            assert_eq!(found, at(5, 8, 1, plane));
        }
    }
}
