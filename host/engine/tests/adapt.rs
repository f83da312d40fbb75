//! Normalisation re-calibrated from images without labels.

mod common;

use common::family;
use common::random::{calibrated, noise, values};
use coshift_engine::adapt::{PRIOR_IMAGES, adapted};
use coshift_engine::layout::Layout;
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
    // More images than go through at once: each counts as much.
    let many = noise(300 * 64, &mut random);
    let moved = adapted(&layout, &values, &own, &many);
    let parts: Vec<Statistics> = [&many[..250 * 64], &many[250 * 64..]]
        .map(|part| forward(&layout, &layout.units(&own.net), &values, part, None).statistics)
        .into();
    let want: Vec<f32> = (flat(&own.statistics).iter().zip(flat(&parts[0])).zip(flat(&parts[1])))
        .map(|((own, a), b)| (PRIOR_IMAGES as f32 * own + 250.0 * a + 50.0 * b) / 316.0)
        .collect();
    assert_close(&flat(&moved.statistics), &want);
}
