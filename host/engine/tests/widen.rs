//! A wider family begun with a narrower one's weights: what it computes, and what does not fit.

mod common;

use std::path::{Path, PathBuf};

use common::family;
use coshift_engine::family::{Family, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::tensors::{FileFault, TensorWriter};
use coshift_engine::train::checkpoint::Checkpoint;
use coshift_engine::train::network::{Values, forward};
use coshift_engine::train::optimiser::{Optimiser, start};
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::sample;
use coshift_engine::train::widen::widened;

/// Wider in every respect but its kernels and its classes.
fn wide() -> Family {
    let mut wide = Family { expands: vec![1, 2, 3], stem: 16, first: 16, ..family() };
    wide.stages.iter_mut().for_each(|stage| stage.channels += 8);
    Family { final_expand: 24, feature_mix: 32, ..wide }
}

/// Values of no special form.
fn values(layout: &Layout) -> Values {
    let mut random = Random(5);
    let mut values = start(layout, &mut random);
    values.iter_mut().flatten().for_each(|value| *value += 0.05 * random.normal());
    values
}

fn written(name: &str, layout: &Layout, average: &Values) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let values = start(layout, &mut Random(6));
    let optimiser = Optimiser { average: average.clone(), ..Optimiser::new(layout, &values) };
    let settings = "{}".into();
    Checkpoint { values, optimiser, epochs: 1, seconds: 1.0, settings }
        .write(layout, &path)
        .unwrap();
    path
}

fn logits(layout: &Layout, net: &SubNet, values: &Values, images: &[f32]) -> Vec<f32> {
    forward(layout, &layout.units(net), values, images, None).logits
}

fn assert_alike(a: &[f32], b: &[f32]) {
    let most = b.iter().fold(0.0_f32, |most, b| most.max(b.abs()));
    assert!(most > 0.0 && a.len() == b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-4 * most, "{a} where {b} was");
    }
}

#[test]
fn sub_networks_of_the_narrower_family_compute_what_they_did() {
    // Only expand ratios are elastic: sub-networks of both are the narrower's.
    let (narrow, wide) = (family(), Family { expands: vec![1, 2, 3], ..family() });
    let (narrow, wide) = (Layout::new(&narrow).unwrap(), Layout::new(&wide).unwrap());
    let before = values(&narrow);
    let path = written("widen-expands.safetensors", &narrow, &before);
    let after = widened(&wide, &path, &mut Random(7)).unwrap();
    let mut random = Random(8);
    let images: Vec<f32> = (0..6 * 64).map(|_| random.normal()).collect();
    for place in 0..20 {
        let net = match place {
            0 => narrow.family().largest(),
            1 => narrow.family().smallest(),
            _ => sample(narrow.family(), &mut random),
        };
        let (now, then) =
            (logits(&wide, &net, &after, &images), logits(&narrow, &net, &before, &images));
        assert_alike(&now, &then);
    }
    // And the wider one's largest what the narrower one's did: nothing reads a new channel yet.
    let (largest, was) = (wide.family().largest(), narrow.family().largest());
    assert_ne!(largest, was);
    let (now, then) =
        (logits(&wide, &largest, &after, &images), logits(&narrow, &was, &before, &images));
    assert_alike(&now, &then);
    // New channels are not all alike: they start at random, scaled by 1.
    let other = widened(&wide, &path, &mut Random(9)).unwrap();
    assert_ne!(after, other);
}

#[test]
fn channels_may_be_more_everywhere() {
    let (narrow, wide) = (Layout::new(&family()).unwrap(), Layout::new(&wide()).unwrap());
    let before = values(&narrow);
    let path = written("widen-all.safetensors", &narrow, &before);
    let after = widened(&wide, &path, &mut Random(7)).unwrap();
    let mut random = Random(8);
    let images: Vec<f32> = (0..6 * 64).map(|_| random.normal()).collect();
    let (now, then) = (wide.family().largest(), narrow.family().largest());
    assert_alike(&logits(&wide, &now, &after, &images), &logits(&narrow, &then, &before, &images));
}

#[test]
fn of_the_same_width_it_is_the_averaged_weights() {
    let layout = Layout::new(&family()).unwrap();
    let before = values(&layout);
    let path = written("widen-same.safetensors", &layout, &before);
    assert_eq!(widened(&layout, &path, &mut Random(7)).unwrap(), before);
}

#[test]
fn what_does_not_fit_is_named() {
    let narrow = Layout::new(&family()).unwrap();
    let path = written(
        "widen-wrong.safetensors",
        &Layout::new(&wide()).unwrap(),
        &values(&Layout::new(&wide()).unwrap()),
    );
    let fault = widened(&narrow, &path, &mut Random(7)).unwrap_err();
    let text = fault.to_string();
    assert!(matches!(fault, FileFault::Shape { .. }), "{text}");
    for words in
        ["widen-wrong.safetensors", "first_conv.conv.weight", "[16, 1, 3, 3]", "[8, 1, 3, 3]"]
    {
        assert!(text.contains(words), "{text}: no {words}");
    }

    // A larger kernel is no prefix.
    let small = Family { kernels: vec![3, 5], ..family() };
    let small = Layout::new(&small).unwrap();
    let path = written("widen-kernel.safetensors", &small, &values(&small));
    let text = widened(&narrow, &path, &mut Random(7)).unwrap_err().to_string();
    assert!(
        text.contains("depth_conv.conv.conv.weight") && text.contains("[16, 1, 7, 7]"),
        "{text}"
    );

    // Deeper: a block that is not there.
    let mut deep = family();
    deep.stages[1].max_depth = 3;
    let path = written("widen-deep.safetensors", &narrow, &values(&narrow));
    let fault = widened(&Layout::new(&deep).unwrap(), &path, &mut Random(7)).unwrap_err();
    assert!(matches!(fault, FileFault::Missing { .. }), "{fault}");

    // A tensor of no channels.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("widen-empty.safetensors");
    let mut file = TensorWriter::default();
    file.tensor("average.first_conv.conv.weight", &[8, 0, 3, 3], &[]);
    file.write(&path).unwrap();
    let text = widened(&narrow, &path, &mut Random(7)).unwrap_err().to_string();
    assert!(text.contains("[8, 0, 3, 3]"), "{text}");
}
