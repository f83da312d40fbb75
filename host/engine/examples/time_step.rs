use coshift_engine::family::*;
use coshift_engine::layout::Layout;
use coshift_engine::train::{optimiser, random::Random, sandwich};
fn main() {
    let stage = |channels, stride, activation, max_depth| Stage { channels, stride, activation, squeeze_excite: false, min_depth: 1, max_depth };
    let f = Family { name: "coshift-28".into(), resolution: 28, image_channels: 1, classes: 10, stem: 16, stem_stride: 1, first: 16, first_stride: 2,
        stages: vec![stage(24, 1, Activation::Relu, 3), stage(40, 2, Activation::HSwish, 3), stage(64, 1, Activation::HSwish, 2)],
        kernels: vec![3, 5], expands: vec![2, 3, 4], final_expand: 256, feature_mix: 256, bn_epsilon: 1e-5 };
    let l = Layout::new(&f);
    println!("{:?} {:?} params {}", l.cost(&f.largest()), l.cost(&f.smallest()), l.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum::<usize>());
    let mut r = Random(1);
    let mut v = optimiser::start(&l, &mut r);
    let mut o = optimiser::Optimiser::new(&l, &v);
    let n = 128;
    let images: Vec<f32> = (0..n * 784).map(|_| r.normal()).collect();
    let labels: Vec<u8> = (0..n).map(|_| r.below(10) as u8).collect();
    let s = optimiser::Settings { momentum: 0.9, decay: 1e-4, clip: 5.0, average: 0.999 };
    for shares in [1, 2] { for step in 0..6 {
        let nets = [f.largest(), f.smallest(), sandwich::sample(&f, &mut r)];
        let t = std::time::Instant::now();
        let (g, p) = sandwich::gradients(&l, &v, &nets, sandwich::Batch { images: &images, labels: &labels }, 0.1, shares);
        let t1 = t.elapsed();
        o.step(&l, &mut v, &g, 0.05, &s);
        println!("{shares} {step} {:?} {:?} {p:?}", t1, t.elapsed());
    } }
}
