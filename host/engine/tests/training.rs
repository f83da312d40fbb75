//! The backward pass of whole sub-networks against differences of the loss.

mod common;

use common::family;
use coshift_engine::family::{Family, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::train::alone::{keep_only, used};
use coshift_engine::train::network::{Values, forward};
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::{Batch, Teacher, gradients, sample, softmax};

fn loss(layout: &Layout, values: &Values, net: &SubNet, images: &[f32], labels: &[u8]) -> f64 {
    let classes = layout.family().classes;
    let pass = forward(layout, &layout.units(net), values, images, None);
    let chances = softmax(&pass.logits, classes);
    let rows = chances.chunks_exact(classes).zip(labels);
    rows.map(|(row, label)| -f64::from(row[usize::from(*label)]).ln()).sum::<f64>()
        / labels.len() as f64
}

#[test]
fn gradients_agree_with_differences_of_the_loss() {
    let layout = Layout::new(&family()).unwrap();
    let mut random = Random(3);
    let mut values = optimiser::start(&layout, &mut random);
    // Transforms away from the identity, so that their gradients are not special.
    for values in &mut values {
        values.iter_mut().for_each(|value| *value += 0.05 * random.normal());
    }
    let images: Vec<f32> = (0..6 * 64).map(|_| random.normal()).collect();
    let labels: Vec<u8> = (0..6).map(|_| random.below(4) as u8).collect();
    for net in [family().largest(), family().smallest(), sample(&family(), &mut random)] {
        let batch = Batch { images: &images, labels: &labels, teacher: None };
        let (found, _) = gradients(&layout, &values, std::slice::from_ref(&net), batch, 0.0, 1);
        for (index, parameter) in layout.parameters.iter().enumerate() {
            // Along a random direction: one difference tests a whole tensor.
            let direction: Vec<f32> = values[index].iter().map(|_| random.normal()).collect();
            let size = direction.iter().map(|d| d * d).sum::<f32>().sqrt();
            // Short enough to cross few kinks of the activations, long enough for f32.
            let step = 5e-4 / size;
            let at = |sign: f32| {
                let mut moved = values.clone();
                moved[index].iter_mut().zip(&direction).for_each(|(v, d)| *v += sign * step * d);
                loss(&layout, &moved, &net, &images, &labels)
            };
            let difference = (at(1.0) - at(-1.0)) / (2.0 * f64::from(step));
            let slope: f64 =
                found[index].iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
            let scale = difference.abs().max(slope.abs()).max(0.05 * f64::from(size));
            assert!(
                (difference - slope).abs() <= 0.04 * scale,
                "{}: slope {slope}, difference {difference}",
                parameter.name
            );
        }
    }
}

#[test]
fn gradients_with_a_teacher_agree_with_differences_of_the_loss() {
    let layout = Layout::new(&family()).unwrap();
    let mut random = Random(11);
    let mut values = optimiser::start(&layout, &mut random);
    values.iter_mut().flatten().for_each(|value| *value += 0.05 * random.normal());
    let images: Vec<f32> = (0..6 * 64).map(|_| random.normal()).collect();
    let labels: Vec<u8> = (0..6).map(|_| random.below(4) as u8).collect();
    let classes = family().classes;
    let outputs: Vec<f32> = (0..6 * classes).map(|_| 3.0 * random.normal()).collect();
    let outputs = softmax(&outputs, classes);
    let net = family().largest();
    for part in [0.3, 1.0] {
        let loss = |values: &Values| {
            let pass = forward(&layout, &layout.units(&net), values, &images, None);
            let chances = softmax(&pass.logits, classes);
            let own = loss(&layout, values, &net, &images, &labels);
            let told = chances.iter().zip(&outputs);
            let told = told.map(|(chance, told)| -f64::from(told * chance.ln())).sum::<f64>();
            f64::from(part) * told / 6.0 + f64::from(1.0 - part) * own
        };
        let teacher = Some(Teacher { outputs: &outputs, part });
        let batch = Batch { images: &images, labels: &labels, teacher };
        let (found, _) = gradients(&layout, &values, std::slice::from_ref(&net), batch, 0.0, 1);
        let index = layout.parameters.iter().position(|p| p.name.contains("linear.weight"));
        let index = index.unwrap();
        let direction: Vec<f32> = values[index].iter().map(|_| random.normal()).collect();
        let size = direction.iter().map(|d| d * d).sum::<f32>().sqrt();
        let step = 5e-3 / size;
        let at = |sign: f32| {
            let mut moved = values.clone();
            moved[index].iter_mut().zip(&direction).for_each(|(v, d)| *v += sign * step * d);
            loss(&moved)
        };
        let difference = (at(1.0) - at(-1.0)) / (2.0 * f64::from(step));
        let slope: f64 = found[index].iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
        let scale = difference.abs().max(slope.abs());
        assert!((difference - slope).abs() <= 0.02 * scale, "{part}: {slope}, {difference}");
    }
}

/// Each share has its own rows of the teacher's outputs.
#[test]
fn shares_learn_their_own_images_outputs() {
    let layout = Layout::new(&family()).unwrap();
    let mut random = Random(12);
    let values = optimiser::start(&layout, &mut random);
    let images: Vec<f32> = (0..9 * 64).map(|_| random.normal()).collect();
    let labels: Vec<u8> = (0..9).map(|_| random.below(4) as u8).collect();
    let classes = family().classes;
    let outputs: Vec<f32> = (0..9 * classes).map(|_| 3.0 * random.normal()).collect();
    let outputs = softmax(&outputs, classes);
    let nets = [family().largest(), family().smallest()];
    let of = |from: usize, to: usize, shares: usize| {
        let outputs = &outputs[from * classes..to * classes];
        let teacher = Some(Teacher { outputs, part: 0.5 });
        let images = &images[from * 64..to * 64];
        let batch = Batch { images, labels: &labels[from..to], teacher };
        gradients(&layout, &values, &nets, batch, 0.1, shares).0
    };
    // Shares of five and four images.
    let whole = of(0, 9, 2);
    let parts = of(0, 5, 1).into_iter().zip(of(5, 9, 1));
    for ((first, second), whole) in parts.zip(&whole) {
        for ((a, b), whole) in first.iter().zip(&second).zip(whole) {
            let sum = (5.0 * a + 4.0 * b) / 9.0;
            assert!((sum - whole).abs() <= 1e-5 * (1.0 + whole.abs()), "{sum} {whole}");
        }
    }
}

#[test]
fn shares_give_the_sum_of_their_gradients() {
    let layout = Layout::new(&family()).unwrap();
    let mut random = Random(4);
    let values = optimiser::start(&layout, &mut random);
    let images: Vec<f32> = (0..8 * 64).map(|_| random.normal()).collect();
    let labels: Vec<u8> = (0..8).map(|_| random.below(4) as u8).collect();
    let nets = [family().largest(), family().smallest()];
    let of = |from: usize, to: usize| {
        let batch =
            Batch { images: &images[from * 64..to * 64], labels: &labels[from..to], teacher: None };
        gradients(&layout, &values, &nets, batch, 0.1, 1).0
    };
    let batch = Batch { images: &images, labels: &labels, teacher: None };
    let (whole, _) = gradients(&layout, &values, &nets, batch, 0.1, 2);
    let (again, _) = gradients(&layout, &values, &nets, batch, 0.1, 2);
    assert_eq!(whole, again, "threads must not change a bit");
    let halves = of(0, 4).into_iter().zip(of(4, 8));
    for ((first, second), whole) in halves.zip(&whole) {
        for ((a, b), whole) in first.iter().zip(&second).zip(whole) {
            assert!(((a + b) / 2.0 - whole).abs() <= 1e-5 * (1.0 + whole.abs()));
        }
    }
}

#[test]
fn what_a_sub_network_uses_is_what_it_has_gradients_of() {
    let layout = Layout::new(&family()).unwrap();
    let mut random = Random(5);
    let mut values = optimiser::start(&layout, &mut random);
    values.iter_mut().flatten().for_each(|value| *value += 0.05 * random.normal());
    let images: Vec<f32> = (0..16 * 64).map(|_| random.normal()).collect();
    let labels: Vec<u8> = (0..16).map(|_| random.below(4) as u8).collect();
    let mut nets = vec![family().largest(), family().smallest()];
    nets.extend((0..20).map(|_| sample(&family(), &mut random)));
    for net in nets {
        let batch = Batch { images: &images, labels: &labels, teacher: None };
        let (found, _) = gradients(&layout, &values, std::slice::from_ref(&net), batch, 0.0, 1);
        let used = used(&layout, &net);
        for ((found, used), parameter) in found.iter().zip(&used).zip(&layout.parameters) {
            let outside = found.iter().zip(used).filter(|(d, used)| **used == 0.0 && **d != 0.0);
            assert_eq!(outside.count(), 0, "{net:?} {}", parameter.name);
            // Of what is used, a channel that an activation shuts off has no gradient.
            let inside = found.iter().zip(used).filter(|(d, used)| **used != 0.0 && **d != 0.0);
            let (inside, all) = (inside.count(), used.iter().filter(|used| **used != 0.0).count());
            assert!(2 * inside >= all, "{net:?} {}: {inside} of {all}", parameter.name);
        }
        // Without the others it is the same network.
        let mut alone = values.clone();
        keep_only(&layout, &net, &mut alone);
        let units = layout.units(&net);
        let whole = forward(&layout, &units, &values, &images, None).logits;
        assert_eq!(forward(&layout, &units, &alone, &images, None).logits, whole, "{net:?}");
    }
}

#[test]
fn a_small_network_learns_by_heart() {
    let layout = Layout::new(&family()).unwrap();
    let mut random = Random(9);
    let mut values = optimiser::start(&layout, &mut random);
    let mut optimiser = optimiser::Optimiser::new(&layout, &values);
    let images: Vec<f32> = (0..16 * 64).map(|_| random.normal()).collect();
    let labels: Vec<u8> = (0..16).map(|_| random.below(4) as u8).collect();
    let nets = [family().largest(), family().smallest()];
    let constants = optimiser::Settings { momentum: 0.9, decay: 0.0, clip: 5.0, average: 0.9 };
    let batch = Batch { images: &images, labels: &labels, teacher: None };
    for _ in 0..60 {
        let (gradient, _) = gradients(&layout, &values, &nets, batch, 0.0, 1);
        optimiser.step(&layout, &mut values, &gradient, 0.05, &constants);
    }
    for net in &nets {
        let loss = loss(&layout, &values, net, &images, &labels);
        assert!(loss < 0.2, "loss {loss}");
    }
}

#[test]
fn published_geometry_gives_the_published_counts() {
    assert_eq!(Family::rounded(16.0 * 1.2), 24);
    assert_eq!(Family::rounded(112.0 * 1.2), 136);
    assert_eq!(Family::rounded(1280.0 * 1.2), 1536);
    // 8 images of 8×8 through the smallest test network: counted by hand.
    let family = family();
    let layout = Layout::new(&family).unwrap();
    let (macs, parameters) = layout.cost(&family.smallest());
    let stem = 64 * 9 * 8;
    let first = 64 * (9 * 8 + 8 * 8);
    let one = 64 * (8 * 8 + 9 * 8 + 8 * 8);
    let two = 64 * 8 * 8 + 16 * (9 * 8 + 8 * 16);
    let head = 16 * 16 * 16 + 16 * 16 + 16 * 4;
    // Of 8 channels squeeze-excite keeps no fewer than 8.
    let squeeze = 2 * 8 * 8;
    assert_eq!(macs, stem + first + one + two + squeeze + head);
    let weights = 9 * 8 + (9 * 8 + 64) + (64 + 72 + 64) + (64 + 72 + 128) + 128 + 256 + 256 + 64;
    let biases = 8 + (8 + 8) + (8 + 8 + 8) + (8 + 8 + 16) + (8 + 8) + 16 + 4;
    assert_eq!(parameters, weights + biases);
}
