//! The published members of the family: sizes against the figures of their authors.
//!
//! Files of measured data are looked for in `$COSHIFT_DATA`, else `../shared/data` beside the
//! project; a check whose file is missing says so and is skipped.

#[allow(dead_code, reason = "a part of it is enough")]
mod common;

use common::need::data;
use common::published::{FLOPS_595, json, specialised};
use coshift_engine::family::{Family, OFA_10, OFA_12, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;

fn layout(json: &str) -> Layout {
    Layout::new(&serde_json::from_str::<Family>(json).unwrap()).unwrap()
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
    // Both figures are of 128 pixels, though the wider one is trained at no fewer than 160.
    for (json, macs, params) in [(OFA_10, 41, 3.41), (OFA_12, 66, 4.60)] {
        let mut family = layout(json).family().clone();
        family.resolutions.insert(0, 128);
        family.resolutions.dedup();
        let layout = Layout::new(&family).unwrap();
        let smallest = SubNet { resolution: Some(128), ..family.smallest() };
        family.check_net(&smallest).unwrap();
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

#[test]
fn a_specialised_network_has_its_published_size() {
    let layout = layout(OFA_12);
    let Some(net) = specialised(&layout, FLOPS_595) else { return };
    layout.family().check_net(&net).unwrap();
    assert_eq!((layout.cost(&net).0 as f64 / 1e6).round() as u64, 595, "{net:?}");
    let found = published_params(&layout, &net) as f64 / 1e6;
    assert!((found - 9.1).abs() < 0.05, "{found}");
}

/// Those of both widths; the others are of another family, with 40 channels after the stem.
#[test]
fn every_specialised_network_is_one_of_its_family() {
    let Some(folder) = data("ofa/ofa_specialized") else { return };
    let (mut counts, mut largest) = ([0; 2], [0; 2]);
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(net) = json(&format!("ofa/ofa_specialized/{name}/net.config")) else { return };
        let stem = net["first_conv"]["out_channels"].as_u64();
        let Some(place) = [16, 24].iter().position(|width| stem == Some(*width)) else {
            assert_eq!(stem, Some(40), "{name}");
            continue;
        };
        let layout = layout([OFA_10, OFA_12][place]);
        let net = specialised(&layout, &name).unwrap();
        layout.family().check_net(&net).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        counts[place] += 1;
        largest[place] = largest[place].max(layout.family().side(&net));
    }
    assert_eq!((counts, largest), ([24, 10], [224, 260]));
}
