//! Normalisation re-calibrated from images without labels.

mod common;

use common::family;
use common::random::{calibrated, noise, values};
use coshift_engine::adapt::{self, PRIOR_IMAGES, adapted};
use coshift_engine::layout::Layout;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::network::{Statistics, forward};
use coshift_engine::train::random::Random;

fn flat(statistics: &Statistics) -> Vec<f32> {
    statistics.iter().flat_map(|(mean, variance)| mean.iter().chain(variance)).copied().collect()
}

fn assert_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{a}, expected {b}");
    }
}

#[test]
fn statistics_move_towards_those_of_the_images() {
    let (layout, mut random) = (Layout::new(&family()).unwrap(), Random(61));
    let values = values(&layout, &mut random);
    let own = calibrated(&layout, &values, &layout.family().largest(), 40, &mut random);
    let unchanged = adapted(&layout, &values, &own, &[]);
    assert_eq!(unchanged.net, own.net);
    assert_close(&flat(&unchanged.statistics), &flat(&own.statistics));
    // Paler images than those of the calibration.
    let images: Vec<f32> = noise(48 * 64, &mut random).iter().map(|x| 0.2 * x + 0.5).collect();
    let of_images = forward(&layout, &layout.units(&own.net), &values, &images, None).statistics;
    let moved = adapted(&layout, &values, &own, &images);
    let share = 48.0 / (48 + PRIOR_IMAGES) as f32;
    let want: Vec<f32> = (flat(&own.statistics).iter().zip(flat(&of_images)))
        .map(|(own, new)| (1.0 - share) * own + share * new)
        .collect();
    assert_close(&flat(&moved.statistics), &want);
    // More images than go through at once, in passes of as many: each counts as much.
    let many = noise(299 * 64, &mut random);
    let moved = adapted(&layout, &values, &own, &many);
    let parts: Vec<Statistics> = [&many[..150 * 64], &many[150 * 64..]]
        .map(|part| forward(&layout, &layout.units(&own.net), &values, part, None).statistics)
        .into();
    let want: Vec<f32> = (flat(&own.statistics).iter().zip(flat(&parts[0])).zip(flat(&parts[1])))
        .map(|((own, a), b)| (PRIOR_IMAGES as f32 * own + 150.0 * a + 149.0 * b) / 315.0)
        .collect();
    assert_close(&flat(&moved.statistics), &want);
    // Of the images alone.
    let alone = adapt::calibrated(&layout, &values, &own.net, &images);
    assert_eq!(alone.net, own.net);
    assert_close(&flat(&alone.statistics), &flat(&of_images));
    let alone = adapt::calibrated(&layout, &values, &own.net, &many);
    let want: Vec<f32> = (flat(&parts[0]).iter().zip(flat(&parts[1])))
        .map(|(a, b)| (150.0 * a + 149.0 * b) / 299.0)
        .collect();
    assert_close(&flat(&alone.statistics), &want);
}

#[test]
fn a_recalibrated_network_is_one_made_of_the_same_statistics() {
    let (layout, mut random) = (Layout::new(&family()).unwrap(), Random(62));
    let values = values(&layout, &mut random);
    let nets: Vec<_> = [layout.family().smallest(), layout.family().largest()]
        .map(|net| calibrated(&layout, &values, &net, 40, &mut random))
        .into();
    let network = Network::new(layout.clone(), values.clone(), &nets).unwrap();
    network.select(1).unwrap();
    let images = noise(32 * 64, &mut random);
    let spoilt: Vec<f32> = images.iter().map(|x| 0.2 * x + 0.5).collect();
    let moved: Vec<_> = nets.iter().map(|net| adapted(&layout, &values, net, &spoilt)).collect();
    let again = network.recalibrated(&values, &moved);
    let whole = Network::new(layout, values, &moved).unwrap();
    assert_eq!(again.selected(), 1);
    let mut space = Workspace::default();
    space.reserve(&network, 32);
    let bytes = space.bytes();
    for index in 0..2 {
        let mut run = |network: &Network| network.run(index, &spoilt, &mut space).unwrap().to_vec();
        let (before, found, want) = (run(&network), run(&again), run(&whole));
        assert_eq!(found, want);
        assert_ne!(found, before);
    }
    assert_eq!(space.bytes(), bytes, "room for the one is room for the other");
}

#[test]
#[should_panic(expected = "other sub-networks")]
fn a_network_of_other_sub_networks_is_refused() {
    let (layout, mut random) = (Layout::new(&family()).unwrap(), Random(63));
    let values = values(&layout, &mut random);
    let nets = [layout.family().smallest(), layout.family().largest()]
        .map(|net| calibrated(&layout, &values, &net, 8, &mut random));
    let network = Network::new(layout, values.clone(), &nets[..1]).unwrap();
    let _ = network.recalibrated(&values, &nets[1..]);
}
