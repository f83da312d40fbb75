//! The search against all sub-networks of a small family, and the published levels.
//!
//! Files of measured data are looked for in `$COSHIFT_DATA`, else `../shared/data` beside the
//! project; a check whose file is missing says so and is skipped.

mod common;

use std::path::Path;

use common::need::data;
use coshift_engine::family::{Family, OFA_12, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;
use coshift_engine::search::blocks::BlockTable;
use coshift_engine::search::predictor::Predictor;
use coshift_engine::search::{Scored, Settings, Source, SourceFault, front, search};

/// Accuracy and latency that no part decides alone: the front has many kinds of sub-networks.
struct Made(fn(&SubNet, f64) -> f64, Layout);

impl Source for Made {
    fn of(&self, net: &SubNet) -> Result<f64, SourceFault> {
        Ok(self.0(net, self.1.cost(net).0 as f64))
    }

    fn knows_side(&self, side: usize) -> bool {
        side != 7
    }
}

fn family() -> Family {
    Family { resolutions: vec![6, 7, 8], ..common::family() }
}

fn accuracy(net: &SubNet, macs: f64) -> f64 {
    let depth: usize = net.depths.iter().sum();
    let wide = net.expands[0] as f64 - 0.3 * net.kernels[2] as f64;
    10.0 * macs.ln() + 2.0 * depth as f64 + wide
}

fn latency(net: &SubNet, macs: f64) -> f64 {
    let blocks: usize = net.depths.iter().sum();
    macs / 1e5 + blocks as f64 * if net.kernels[0] == 7 { 0.5 } else { 0.3 }
}

#[test]
fn the_whole_front_of_a_small_family_is_found() {
    let family = family();
    let layout = Layout::new(&family).unwrap();
    let (accuracy, latency) = (Made(accuracy, layout.clone()), Made(latency, layout));
    // All: 2 × 2 depths, 3⁴ kernels, 2⁴ expand ratios, 2 sizes of images.
    let mut all = Vec::new();
    for code in 0..4 * 81 * 16 * 2 {
        let (depth, kernel, expand, side) = (code % 4, code / 4 % 81, code / 324 % 16, code / 5184);
        let net = SubNet {
            depths: vec![1 + depth % 2, 1 + depth / 2],
            kernels: (0..4).map(|block| 3 + 2 * (kernel / 3_usize.pow(block) % 3)).collect(),
            expands: (0..4).map(|block| 1 + expand / 2_usize.pow(block) % 2).collect(),
            resolution: Some(6 + 2 * side),
        };
        let (accuracy_pct, latency_ms) = (accuracy.of(&net).unwrap(), latency.of(&net).unwrap());
        all.push(Scored { net, accuracy_pct, latency_ms });
    }
    let want = front(all.clone());
    assert!(want.len() > 20, "{}", want.len());
    // By the definition: none dominates one of the front, one dominates or equals each other.
    for scored in &all {
        let beaten = want.iter().any(|best| best.dominates(scored));
        let equal = want.iter().any(|best| {
            (best.accuracy_pct, best.latency_ms) == (scored.accuracy_pct, scored.latency_ms)
        });
        assert!(beaten != equal, "{scored:?}");
    }
    let settings =
        Settings { seed: 3, population: 60, generations: 60, populations: 1, climbs: 0, rounds: 0 };
    let found = search(&family, &accuracy, &latency, settings).unwrap();
    let again = search(&family, &accuracy, &latency, settings).unwrap();
    assert_eq!(found, again, "one seed, one front");
    for scored in &found {
        family.check_net(&scored.net).unwrap();
        assert_ne!(scored.net.resolution, Some(7), "a size that no source knows");
    }
    let points = |front: &[Scored]| -> Vec<(u64, u64)> {
        front.iter().map(|s| (s.accuracy_pct.to_bits(), s.latency_ms.to_bits())).collect()
    };
    let (found, want) = (points(&found), points(&want));
    let met = want.iter().filter(|point| found.contains(point)).count();
    assert!(met * 10 >= want.len() * 9, "{met} of {}", want.len());
}

#[test]
fn sources_that_know_no_size_together_are_named() {
    let family = Family { resolutions: vec![7], resolution: 7, ..common::family() };
    let layout = Layout::new(&family).unwrap();
    let (accuracy, latency) = (Made(accuracy, layout.clone()), Made(latency, layout));
    let settings =
        Settings { seed: 1, population: 10, generations: 1, populations: 1, climbs: 0, rounds: 1 };
    let fault = search(&family, &accuracy, &latency, settings).unwrap_err().to_string();
    assert_eq!(fault, "no image size of test is one that both sources know");
}

#[test]
fn a_table_of_blocks_sums_its_blocks_and_names_what_it_lacks() {
    let family = Family { resolutions: vec![8], ..common::family() };
    let layout = Layout::new(&family).unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("blocks.yaml");
    let net = SubNet { resolution: Some(8), ..family.smallest() };
    let keys = [
        "Conv-input:8x8x1-output:8x8x8",
        "expanded_conv-input:8x8x8-output:8x8x8-expand:8-kernel:3-stride:1-idskip:1-se:0-hs:0",
        "expanded_conv-input:8x8x8-output:8x8x8-expand:8-kernel:3-stride:1-idskip:1-se:0-hs:1",
        "expanded_conv-input:8x8x8-output:4x4x16-expand:8-kernel:3-stride:2-idskip:0-se:1-hs:1",
        "Conv_1-input:4x4x16-output:4x4x16",
        "AvgPool2D-input:4x4x16-output:1x1x16",
        "Conv_2-input:1x1x16-output:1x1x16",
        "Logits-input:1x1x16-output:4",
    ];
    let table = |keys: &[&str]| {
        let entry =
            |(at, key): (usize, &&str)| format!("{key}:\n  count: 9\n  mean: {}.5\n", 1 << at);
        keys.iter().enumerate().map(entry).collect::<String>()
    };
    std::fs::write(&path, table(&keys)).unwrap();
    let blocks = BlockTable::read(&[&path], &layout).unwrap();
    assert!(blocks.knows_side(8) && !blocks.knows_side(7));
    assert_eq!(blocks.of(&net), Ok(255.0 + 8.0 * 0.5));
    let other = SubNet { resolution: Some(7), ..net.clone() };
    let fault = blocks.of(&other).unwrap_err().to_string();
    assert_eq!(fault, "there is no table of blocks for images of 7 pixels");
    let fault = BlockTable::read(&[&path, &path], &layout).unwrap_err().to_string();
    assert!(fault.ends_with("a second table for images of 8 pixels"), "{fault}");
    for at in 1..keys.len() {
        let mut without = keys.to_vec();
        let missing = without.remove(at);
        std::fs::write(&path, table(&without)).unwrap();
        let blocks = BlockTable::read(&[&path], &layout).unwrap();
        let fault = blocks.of(&net).unwrap_err().to_string();
        assert_eq!(fault, format!("the table of blocks has no {missing}"));
    }
    for (text, want) in [
        ("Conv", "line 1: expected a block's key and a colon"),
        ("a:\n  mean: x\n", "line 2: mean: expected a latency, ms"),
        ("a:\n  mean: -1\n", "line 2: mean: expected a latency, ms"),
        ("  mean: 1\n", "line 1: a mean without a block"),
        ("a:\n  mean: 1\na:\n  mean: 1\n", "line 4: this block is there twice"),
        ("a:\n  mean: 1\n", "expected one block Conv-input:SIDExSIDEx…, for one size of images"),
    ] {
        std::fs::write(&path, text).unwrap();
        let fault = BlockTable::read(&[&path], &layout).unwrap_err().to_string();
        assert!(fault.ends_with(want), "{fault}");
    }
}

/// What the published weights say of the 13 levels, %, worked out with NumPy.
const PREDICTED: [f64; 13] = [
    78.6895, 79.8959, 81.4103, 82.2427, 83.3862, 84.7934, 78.6895, 80.4794, 81.2670, 82.2427,
    83.0103, 84.6718, 84.7934,
];

#[test]
fn the_front_is_nowhere_worse_than_the_published_levels() {
    let Some(weights) = data("ofa/acc_predictor_mbv3.safetensors") else { return };
    let Some(tables) = data("ofa/note10") else { return };
    let family: Family = serde_json::from_str(OFA_12).unwrap();
    let layout = Layout::new(&family).unwrap();
    let predictor = Predictor::read(&weights, &family).unwrap();
    for (level, want) in dynamic_ofa().iter().zip(PREDICTED) {
        let found = predictor.of(&level.net).unwrap();
        assert!((found - want).abs() < 1e-3, "{}: {found}, expected {want}", level.name);
    }
    let sides = [160, 176, 192, 208, 224];
    let paths = sides.map(|side| tables.join(format!("{side}_lookup_table.yaml")));
    let blocks = BlockTable::read(&paths, &layout).unwrap();
    for seed in 1..=5 {
        // As the command has them.
        let settings = Settings {
            seed,
            population: 100,
            generations: 200,
            populations: 4,
            climbs: 300,
            rounds: 40,
        };
        let found = search(&family, &predictor, &blocks, settings).unwrap();
        for level in dynamic_ofa() {
            let (accuracy, latency) =
                (predictor.of(&level.net).unwrap(), blocks.of(&level.net).unwrap());
            let met =
                |found: &&Scored| found.accuracy_pct >= accuracy && found.latency_ms <= latency;
            assert!(
                found.iter().any(|found| met(&found)),
                "seed {seed}, {}: {accuracy} %, {latency} ms",
                level.name
            );
        }
    }
}
