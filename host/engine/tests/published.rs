//! The published members of the family: sizes against the figures of their authors.
//!
//! Files of measured data are looked for in `$COSHIFT_DATA`, else `../shared/data` beside the
//! project; a check whose file is missing says so and is skipped.

#[allow(dead_code, reason = "a part of it is enough")]
mod common;

use common::need::data;
use coshift_engine::family::{Family, OFA_10, OFA_12, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;
use serde_json::Value;

fn layout(json: &str) -> Layout {
    Layout::new(&serde_json::from_str::<Family>(json).unwrap()).unwrap()
}

/// A file of the measured data.
fn json(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(data(name)?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

/// Parameters with both values of every normalisation, as its authors count them.
fn published_params(layout: &Layout, net: &SubNet) -> u64 {
    let norms: usize =
        layout.units(net).iter().filter(|unit| unit.norm.is_some()).map(|unit| unit.outputs).sum();
    layout.cost(net).1 + norms as u64
}

#[test]
fn whole_networks_have_the_published_sizes() {
    for (json, macs, params) in [(OFA_10, 566, 7.66), (OFA_12, 843, 10.70)] {
        let layout = layout(json);
        let largest = layout.family().largest();
        assert_eq!((layout.cost(&largest).0 as f64 / 1e6).round() as u64, macs);
        let found = published_params(&layout, &largest) as f64 / 1e6;
        assert!((found - params).abs() < 0.005, "{found}");
    }
    for (json, side, macs, params) in [(OFA_10, 128, 41, 3.41), (OFA_12, 128, 66, 4.60)] {
        let layout = layout(json);
        let smallest = SubNet { resolution: Some(side), ..layout.family().smallest() };
        assert_eq!((layout.cost(&smallest).0 as f64 / 1e6).round() as u64, macs);
        let found = published_params(&layout, &smallest) as f64 / 1e6;
        assert!((found - params).abs() < 0.005, "{found}");
    }
}

#[test]
fn the_levels_have_the_published_macs() {
    let layout = layout(OFA_12);
    let levels = dynamic_ofa();
    let want =
        [235.5, 254.0, 288.8, 375.5, 522.1, 731.1, 235.5, 290.0, 349.2, 375.5, 442.0, 590.8, 731.1];
    assert_eq!(levels.len(), want.len());
    for (level, want) in levels.iter().zip(want) {
        layout.family().check_net(&level.net).unwrap();
        let found = layout.cost(&level.net).0 as f64 / 1e6;
        assert!(
            (found - want).abs() <= 0.05 + 1e-9,
            "{}: {found} M, expected {want} M",
            level.name
        );
    }
}

#[test]
fn the_levels_are_the_published_ones() {
    let mut levels = dynamic_ofa().into_iter();
    for name in ["nets_6", "nets_7"] {
        let Some(file) = json(&format!("dynamic_ofa/{name}.json")) else { return };
        for (index, published) in file["levels"].as_array().unwrap().iter().enumerate() {
            let list = |key: &str| serde_json::from_value::<Vec<usize>>(published[key].clone());
            let level = levels.next().unwrap();
            assert_eq!(level.name, format!("{name}.{index}"));
            let want = SubNet {
                depths: list("d").unwrap(),
                kernels: list("ks").unwrap(),
                expands: list("e").unwrap(),
                resolution: Some(published["r"].as_u64().unwrap() as usize),
            };
            assert_eq!(level.net, want);
        }
    }
    assert_eq!(levels.next(), None);
}

/// A specialised network's description as a sub-network of the family.
fn specialised(layout: &Layout, config: &Value, side: usize) -> SubNet {
    let family = layout.family();
    let mut net = family.largest();
    net.resolution = Some(side);
    let mut blocks = config["blocks"].as_array().unwrap()[1..].iter().peekable();
    let mut first = 0;
    for (stage, depth) in family.stages.iter().zip(&mut net.depths) {
        *depth = 0;
        while let Some(block) = blocks.next_if(|block| {
            let conv = &block["mobile_inverted_conv"];
            conv["out_channels"] == stage.channels && conv["use_se"] == stage.squeeze_excite
        }) {
            let conv = &block["mobile_inverted_conv"];
            let read = |key: &str| conv[key].as_u64().unwrap() as usize;
            net.kernels[first + *depth] = read("kernel_size");
            net.expands[first + *depth] = read("expand_ratio");
            *depth += 1;
        }
        first += stage.max_depth;
    }
    assert_eq!(blocks.next(), None);
    net
}

#[test]
fn a_specialised_network_has_its_published_size() {
    let layout = layout(OFA_12);
    let name = "ofa/ofa_specialized/flops-595M_top1-80.0_finetune-75/net.config";
    let Some(config) = json(name) else { return };
    let net = specialised(&layout, &config, 236);
    assert_eq!((layout.cost(&net).0 as f64 / 1e6).round() as u64, 595, "{net:?}");
    let found = published_params(&layout, &net) as f64 / 1e6;
    assert!((found - 9.1).abs() < 0.05, "{found}");
}
