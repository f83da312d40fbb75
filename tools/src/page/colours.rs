//! The colours of the style sheet: text and lines stand out from every ground, and looks from one
//! another, for readers with any kind of colour vision.

use super::STYLE;

/// Red, green, blue, linear from 0 to 1.
type Rgb = [f64; 3];

/// The blocks that define the colours: light, dark, print.
fn schemes() -> Vec<&'static str> {
    STYLE.split(":root {").skip(1).map(|block| &block[..block.find('}').unwrap()]).collect()
}

fn colour(scheme: &str, name: &str) -> Rgb {
    let from = scheme.find(&format!("--{name}: #")).unwrap_or_else(|| panic!("--{name}"));
    let digits = &scheme[from + name.len() + 5..][..6];
    [0, 2, 4].map(|at| {
        let value = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    })
}

fn product(matrix: [Rgb; 3], of: Rgb) -> Rgb {
    matrix.map(|row| row[0] * of[0] + row[1] * of[1] + row[2] * of[2])
}

/// Contrast of WCAG 2.2.
fn contrast(one: Rgb, other: Rgb) -> f64 {
    let luminance = |of: Rgb| 0.2126 * of[0] + 0.7152 * of[1] + 0.0722 * of[2];
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// Distance in Oklab (Ottosson 2020), where 0.02 is just seen side by side.
fn distance(one: Rgb, other: Rgb) -> f64 {
    let lab = |of: Rgb| {
        let cones = product(
            [
                [0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9],
                [0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6],
                [0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5],
            ],
            of,
        );
        let matrix = [
            [0.210_454_255_3, 0.793_617_785_0, -0.004_072_046_8],
            [1.977_998_495_1, -2.428_592_205_0, 0.450_593_709_9],
            [0.025_904_037_1, 0.782_771_766_2, -0.808_675_766_0],
        ];
        product(matrix, cones.map(f64::cbrt))
    };
    let (one, other) = (lab(one), lab(other));
    (0..3).map(|axis| (one[axis] - other[axis]).powi(2)).sum::<f64>().sqrt()
}

/// Full protanopia, deuteranopia and tritanopia: Machado, Oliveira, Fernandes 2009, table 1.
const VISIONS: [(&str, [Rgb; 3]); 4] = [
    ("common", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    (
        "protanopia",
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
    ),
    (
        "deuteranopia",
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
    ),
    (
        "tritanopia",
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ),
];

/// Looks and the mark; the first four are those of most plots.
const DRAWN: [&str; 7] = ["look-1", "look-2", "look-3", "bad", "look-4", "look-5", "look-6"];

#[test]
fn everything_stands_out_from_its_ground() {
    assert_eq!(schemes().len(), 3);
    for scheme in schemes() {
        for ink in DRAWN.into_iter().chain(["text", "soft", "good"]) {
            for ground in ["paper", "even", "odd"] {
                let found = contrast(colour(scheme, ink), colour(scheme, ground));
                assert!(found >= 4.5, "{ink} on {ground}: {found:.2}");
            }
        }
    }
}

#[test]
fn looks_differ_for_every_reader() {
    for scheme in schemes() {
        for (vision, matrix) in VISIONS {
            let seen = |name| {
                product(matrix, colour(scheme, name)).map(|channel: f64| channel.clamp(0.0, 1.0))
            };
            for (place, one) in DRAWN.iter().enumerate() {
                for other in &DRAWN[..place] {
                    let least = if place < 4 { 0.1 } else { 0.07 };
                    // Tritanopia is some hundred times rarer than the other two.
                    let least = if vision == "tritanopia" { least / 1.3 } else { least };
                    let found = distance(seen(one), seen(other));
                    assert!(found >= least, "{vision}: {one} and {other}: {found:.3}");
                }
            }
        }
    }
}
