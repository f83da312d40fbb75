//! Early exits: what they compute, when images leave, what it costs.

mod common;

use common::random::{any, calibrated, noise, values};
use coshift_engine::family::{Exit, Family, FamilyFault};
use coshift_engine::intermediate::Intermediate;
use coshift_engine::layout::Layout;
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Exiting, Network, RunFault, Workspace};
use coshift_engine::train::network::{Values, forward};
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::softmax;

fn family() -> Family {
    let exits = vec![Exit { stage: 0, threshold: 0.5 }, Exit { stage: 1, threshold: 0.35 }];
    Family { exits, ..common::family() }
}

/// What an exit says of one image, from the maps of the executor itself.
fn said(
    network: &Network,
    values: &Values,
    (index, net): (usize, &Calibrated),
    number: usize,
    image: &[f32],
) -> Vec<f32> {
    let layout = network.layout();
    let units = layout.units(&net.net);
    let place = units.iter().position(|unit| unit.exit == Some(number)).unwrap();
    let maps = network.intermediates(index, image, &mut Workspace::default()).unwrap();
    let (_, map) = maps.iter().find(|(what, _)| *what == Intermediate::Map(place)).unwrap();
    let channels = units[place].outputs;
    let pixels = (map.len() / channels) as f32;
    let mean = |c: usize| map.iter().skip(c).step_by(channels).sum::<f32>() / pixels;
    let means: Vec<f32> = (0..channels).map(mean).collect();
    let (weight, bias) = (&values[layout.exit(number)], &values[layout.exit(number) + 1]);
    let rows = weight.chunks_exact(channels).zip(bias);
    rows.map(|(row, bias)| row.iter().zip(&means).map(|(w, x)| w * x).sum::<f32>() + bias).collect()
}

fn made() -> (Network, Values, Vec<Calibrated>) {
    let (layout, mut random) = (Layout::new(&family()).unwrap(), Random(71));
    let mut values = values(&layout, &mut random);
    for number in 0..2 {
        // Sure of some images, unsure of others.
        values[layout.exit(number)].iter_mut().for_each(|weight| *weight *= 4.0);
    }
    let nets: Vec<_> = (0..3)
        .map(|_| {
            let net = any(layout.family(), &[8], &mut random);
            calibrated(&layout, &values, &net, 12, &mut random)
        })
        .collect();
    (Network::new(layout, values.clone(), &nets).unwrap(), values, nets)
}

#[test]
fn images_leave_at_the_first_exit_that_is_sure() {
    let (network, values, nets) = made();
    let images = noise(40 * 64, &mut Random(72));
    for exiting in [Exiting::Family, Exiting::At(0.45), Exiting::At(0.0), Exiting::Never] {
        let mut counts = [0; 3];
        for (index, net) in nets.iter().enumerate() {
            let layout = network.layout();
            let units = layout.units(&net.net);
            let whole = forward(layout, &units, &values, &images, Some(&net.statistics)).logits;
            for threads in 1..=2 {
                let mut space = Workspace::with_threads(threads);
                let found =
                    network.run_exiting(index, &images, exiting, &mut space).unwrap().to_vec();
                let taken: Vec<_> = space.exits().collect();
                assert_eq!(taken.len(), 40);
                for (place, image) in images.chunks_exact(64).enumerate() {
                    let mut want = (None, whole[4 * place..][..4].to_vec());
                    for (number, exit) in family().exits.iter().enumerate() {
                        let threshold = match exiting {
                            Exiting::Family => exit.threshold,
                            Exiting::At(threshold) => threshold,
                            Exiting::Never => break,
                        };
                        let logits = said(&network, &values, (index, net), number, image);
                        let sure = softmax(&logits, 4).into_iter().fold(0.0, f32::max);
                        if sure >= threshold {
                            want = (Some(number), logits);
                            break;
                        }
                    }
                    assert_eq!(taken[place], want.0, "image {place}, {exiting:?}");
                    counts[want.0.unwrap_or(2)] += 1;
                    for (a, b) in found[4 * place..].iter().zip(&want.1) {
                        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{a}, expected {b}");
                    }
                }
                // One by one the same.
                let alone: Vec<f32> = images
                    .chunks_exact(64)
                    .flat_map(|image| {
                        let logits = network.run_exiting(index, image, exiting, &mut space);
                        logits.unwrap().to_vec()
                    })
                    .collect();
                for (a, b) in alone.iter().zip(&found) {
                    assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{a}, expected {b}");
                }
            }
        }
        match exiting {
            // Some of every kind, or the test shows nothing.
            Exiting::Family => assert!(counts.iter().all(|count| *count > 0), "{counts:?}"),
            Exiting::At(0.0) => assert_eq!(counts[1] + counts[2], 0),
            Exiting::At(_) => assert!(counts[0] > 0 && counts[2] > 0, "{counts:?}"),
            Exiting::Never => assert_eq!(counts[0] + counts[1], 0),
        }
    }
}

#[test]
fn a_call_uses_the_familys_confidences_and_a_policy_its_own() {
    let (network, ..) = made();
    let images = noise(40 * 64, &mut Random(73));
    let mut space = Workspace::default();
    let by_call = network.run(1, &images, &mut space).unwrap().to_vec();
    let taken: Vec<_> = space.exits().collect();
    let by_family = network.run_exiting(1, &images, Exiting::Family, &mut space).unwrap();
    assert_eq!(by_call, by_family);
    assert_eq!(taken, space.exits().collect::<Vec<_>>());
    assert_eq!(Exiting::of_row(u16::MAX), Exiting::Never);
    assert_eq!(Exiting::of_row(0), Exiting::At(0.0));
    assert_eq!(Exiting::of_row(13107), Exiting::At(0.2));
}

#[test]
fn costs_of_exits_are_those_of_the_layers_before_them() {
    let layout = Layout::new(&family()).unwrap();
    let plain = Layout::new(&common::family()).unwrap();
    for net in [layout.family().smallest(), layout.family().largest()] {
        let macs = layout.exit_macs(&net);
        // 8 and 16 channels, 4 classes.
        let heads = [8 * 4, 16 * 4];
        let (all, parameters) = layout.cost(&net);
        let (without, fewer) = plain.cost(&net);
        assert_eq!(all, without + heads[0] + heads[1]);
        assert_eq!(parameters, fewer + heads[0] + heads[1] + 8);
        assert!(macs[0] < macs[1] && macs[1] < all, "{macs:?} {all}");
        // After the last stage: the 1×1 layers and the classifier of 4 by 4 pixels are left.
        assert_eq!(all - macs[1], 16 * 16 * 16 + 16 * 16 + 16 * 4);
        assert!(plain.exit_macs(&net).is_empty());
        assert!(layout.traffic_bytes(&net) > plain.traffic_bytes(&net));
    }
}

#[test]
fn exits_that_cannot_be_are_named() {
    let fault = |exits: Vec<Exit>| -> FamilyFault {
        Family { exits, ..common::family() }.check().unwrap_err()
    };
    let exit = |stage, threshold| Exit { stage, threshold };
    assert_eq!(fault(vec![exit(2, 0.5)]).to_string(), "test: exits[0].stage is 2, expected 0 to 1");
    for threshold in [0.0, -1.0, 1.5, f32::NAN] {
        assert_eq!(fault(vec![exit(1, threshold)]).place, "exits[0].threshold");
    }
    assert_eq!(fault(vec![exit(1, 0.5), exit(0, 0.5)]).place, "exits");
    assert_eq!(fault(vec![exit(1, 0.5), exit(1, 0.5)]).place, "exits");
    // As data, and back.
    let text = serde_json::to_string(&family()).unwrap();
    assert!(text.contains(r#""exits":[{"stage":0,"threshold":0.5}"#), "{text}");
    assert_eq!(serde_json::from_str::<Family>(&text).unwrap(), family());
    assert!(!serde_json::to_string(&common::family()).unwrap().contains("exits"));
}

/// A device would run every image to the end without a word.
#[test]
fn a_device_refuses_exits_that_images_take() {
    let (network, values, nets) = made();
    let fault = network.program(0, 1, 16).unwrap_err();
    assert_eq!(fault, RunFault::Exits { stages: vec![0, 1] });
    assert_eq!(
        fault.to_string(),
        "early exits after stages [0, 1] with thresholds below 1: a device takes none of them, every \
         image would go to the end"
    );
    // Of exits that are never taken there is nothing to be said.
    let mut family = family();
    family.exits.iter_mut().for_each(|exit| exit.threshold = 1.0);
    let layout = Layout::new(&family).unwrap();
    Network::new(layout, values, &nets).unwrap().program(0, 1, 16).unwrap();
}
