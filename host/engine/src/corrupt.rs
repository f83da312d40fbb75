//! Images made worse on purpose, seeded: what a camera does in the dark, out of focus, in fog.

use std::fmt;
use std::str::FromStr;

use crate::images::ImageSet;
use crate::train::random::Random;

/// A kind of corruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Gaussian noise on every pixel.
    Noise,
    /// Gaussian blur.
    Blur,
    /// Less contrast: every pixel nearer the image's mean.
    Contrast,
}

/// A corruption with its severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corruption {
    /// Kind.
    pub kind: Kind,
    /// 1, hardly seen, to 5.
    pub severity: usize,
}

/// Standard deviation of the noise, share of white: ImageNet-C's (Hendrycks and Dietterich, 2019).
const NOISE: [f32; 5] = [0.08, 0.12, 0.18, 0.26, 0.38];

/// Contrast that is left, as there.
const CONTRAST: [f32; 5] = [0.4, 0.3, 0.2, 0.1, 0.05];

/// Standard deviation of the blur, pixels; for images of 28 pixels.
const BLUR: [f32; 5] = [0.5, 0.75, 1.0, 1.5, 2.0];

impl FromStr for Corruption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, severity) = text.split_once(':').unwrap_or((text, "3"));
        let kind = match kind {
            "noise" => Kind::Noise,
            "blur" => Kind::Blur,
            "contrast" => Kind::Contrast,
            _ => return Err(format!("{kind:?}: expected noise, blur or contrast")),
        };
        match severity.parse() {
            Ok(severity @ 1..=5) => Ok(Self { kind, severity }),
            _ => Err(format!("severity {severity:?}: expected 1 to 5")),
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Noise => "noise",
            Kind::Blur => "blur",
            Kind::Contrast => "contrast",
        };
        write!(f, "{kind}:{}", self.severity)
    }
}

impl Corruption {
    /// Corrupts every image of a set. The noise of an image depends on the seed and its place alone.
    pub fn apply(self, set: &mut ImageSet, seed: u64) {
        let (side, level) = (set.side, self.severity.clamp(1, 5) - 1);
        for (place, image) in set.pixels.chunks_exact_mut((side * side).max(1)).enumerate() {
            match self.kind {
                Kind::Noise => {
                    let mut random = Random(seed);
                    let mut random = Random(random.bits() ^ place as u64);
                    for pixel in image {
                        *pixel = byte(f32::from(*pixel) + 255.0 * NOISE[level] * random.normal());
                    }
                }
                Kind::Blur => blur(image, side, BLUR[level]),
                Kind::Contrast => {
                    let sum: u64 = image.iter().map(|pixel| u64::from(*pixel)).sum();
                    let mean = sum as f32 / image.len() as f32;
                    for pixel in image {
                        *pixel = byte(mean + CONTRAST[level] * (f32::from(*pixel) - mean));
                    }
                }
            }
        }
    }
}

fn byte(value: f32) -> u8 {
    // The cast stops at 0 and 255.
    value.round() as u8
}

/// Gaussian blur, one direction after the other; pixels beyond an edge are those at it.
fn blur(image: &mut [u8], side: usize, deviation: f32) {
    let reach = (3.0 * deviation).ceil() as usize;
    let weight = |at: usize| {
        let distance = at as f32 - reach as f32;
        (-distance * distance / (2.0 * deviation * deviation)).exp()
    };
    let taps: Vec<f32> = (0..=2 * reach).map(weight).collect();
    let sum: f32 = taps.iter().sum();
    let across = |values: &[f32], step: usize, line: usize| {
        let mut out = vec![0.0; values.len()];
        for row in 0..side {
            for column in 0..side {
                let total: f32 = (taps.iter().enumerate())
                    .map(|(tap, weight)| {
                        let from = (column + tap).saturating_sub(reach).min(side - 1);
                        weight * values[row * line + from * step]
                    })
                    .sum();
                out[row * line + column * step] = total / sum;
            }
        }
        out
    };
    let values: Vec<f32> = image.iter().map(|pixel| f32::from(*pixel)).collect();
    let values = across(&across(&values, 1, side), side, 1);
    image.iter_mut().zip(values).for_each(|(pixel, value)| *pixel = byte(value));
}

#[cfg(test)]
mod tests {
    use super::{CONTRAST, Corruption};
    use crate::images::ImageSet;

    fn set() -> ImageSet {
        let pixels = (0..2 * 64).map(|at| if at % 8 < 4 { 60 } else { 180 }).collect();
        ImageSet { side: 8, pixels, labels: vec![0, 1] }
    }

    fn corrupted(text: &str, seed: u64) -> Vec<u8> {
        let mut set = set();
        text.parse::<Corruption>().unwrap().apply(&mut set, seed);
        set.pixels
    }

    #[test]
    fn names_are_read_and_written() {
        for text in ["noise:1", "blur:5", "contrast:3"] {
            assert_eq!(text.parse::<Corruption>().unwrap().to_string(), text);
        }
        assert_eq!("blur".parse::<Corruption>().unwrap().severity, 3);
        for text in ["fog", "noise:0", "noise:6", "noise:", "noise:x"] {
            assert!(text.parse::<Corruption>().is_err(), "{text}");
        }
    }

    #[test]
    fn noise_is_seeded_and_as_large_as_it_says() {
        let noisy = corrupted("noise:2", 7);
        assert_eq!(noisy, corrupted("noise:2", 7));
        assert_ne!(noisy, corrupted("noise:2", 8));
        // The two images are the same, their noise is not.
        assert_ne!(noisy[..64], noisy[64..]);
        let clean = set().pixels;
        let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
        let sum: f64 = noisy.iter().zip(&clean).map(square).sum();
        let deviation = (sum / clean.len() as f64).sqrt() / 255.0;
        assert!((0.09..0.15).contains(&deviation), "{deviation}");
    }

    #[test]
    fn contrast_shrinks_about_the_mean() {
        let grey = corrupted("contrast:4", 1);
        for (pixel, clean) in grey.iter().zip(set().pixels) {
            let want = 120.0 + CONTRAST[3] * (f32::from(clean) - 120.0);
            assert!((f32::from(*pixel) - want).abs() <= 0.5);
        }
    }

    #[test]
    fn blur_keeps_the_mean_and_softens_edges() {
        let soft = corrupted("blur:3", 1);
        let mean = |pixels: &[u8]| pixels.iter().map(|p| f64::from(*p)).sum::<f64>() / 128.0;
        assert!((mean(&soft) - mean(&set().pixels)).abs() < 1.0);
        // An edge at columns 3 and 4, none from row to row.
        let row = &soft[..8];
        assert!(row.windows(2).all(|pair| pair[0] <= pair[1]), "{row:?}");
        assert!(row[3] > 65 && row[4] < 175 && row[0] < 65, "{row:?}");
        assert_eq!(soft[..8], soft[24..32]);
        // An even picture stays as it is.
        let mut even = ImageSet { side: 8, pixels: vec![77; 64], labels: vec![0] };
        "blur:5".parse::<Corruption>().unwrap().apply(&mut even, 1);
        assert_eq!(even.pixels, vec![77; 64]);
    }
}
