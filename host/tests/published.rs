//! Published weights in the agent: sub-networks of several sizes without images, bound to a network
//! of the policy that names no hash.
#![cfg(feature = "engine")]

use std::path::{Path, PathBuf};

use coshift_engine::corrupt::Corruption;
use coshift_engine::family::{COSHIFT_28, Family, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::model::{Calibrated, Model, SubNetwork, blocks, write_weights};
use coshift_engine::train::network::forward;
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_host::clock::Time;
use coshift_host::engine::{Infer, Input, Job, Models};
use coshift_shared::policy::{self, Cell, Level, PolicyImage, PolicyView, TableImage};

/// A folder of this test's own, gone with it.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A model with random weights of two sub-networks, of 20 and 28 pixels. Gives its hash.
fn write_model(folder: &Path) -> u64 {
    let family = Family {
        image_channels: 3,
        resolutions: vec![20],
        ..serde_json::from_str(COSHIFT_28).unwrap()
    };
    let (layout, mut random) = (Layout::new(&family).unwrap(), Random(5));
    let values = optimiser::start(&layout, &mut random);
    let nets = [SubNet { resolution: Some(20), ..family.smallest() }, family.largest()];
    let calibrated = nets.map(|net| {
        let images: Vec<f32> =
            (0..4 * 3 * family.side(&net).pow(2)).map(|_| random.normal()).collect();
        let statistics = forward(&layout, &layout.units(&net), &values, &images, None).statistics;
        Calibrated { net, statistics }
    });
    let hash = write_weights(&folder.join("w.safetensors"), &layout, &values, &calibrated).unwrap();
    let sub_network = |(index, calibrated): (usize, Calibrated)| {
        let net = calibrated.net;
        let (macs, params) = layout.cost(&net);
        SubNetwork {
            index,
            name: Some(format!("set.{index}")),
            blocks: blocks(&net),
            net,
            macs,
            params,
            accuracy_pct: 70.0 + index as f64,
            images: 0,
            shipped_accuracy_pct: None,
        }
    };
    let sub_networks = calibrated.into_iter().enumerate().map(sub_network).collect();
    let model = Model {
        family,
        weights: "w.safetensors".into(),
        model_hash: format!("{hash:016x}"),
        published: Some("a test".into()),
        sub_networks,
    };
    model.write(folder).unwrap();
    hash
}

/// A policy of one level: a network of this hash, with rows of these accuracies.
fn policy_image(model_hash: u64, accuracies_bp: [u16; 2]) -> Vec<u8> {
    let row = |(id, accuracy_bp)| policy::SubNetwork {
        id,
        model_hash,
        accuracy_bp,
        exit_threshold: u16::MAX,
    };
    let level =
        Level { cpu_khz: 1_000_000, gpu_khz: 1_000_000, emc_khz: 1_600_000, idle_mw: 2_000 };
    let table = TableImage {
        name: "published".into(),
        sub_networks: (0..).zip(accuracies_bp).map(row).collect(),
        cells: vec![vec![Cell { latency_us: 10_000, energy_uj: 5_000 }]; 2],
    };
    PolicyImage {
        board: "test-board".into(),
        runtime: "law".into(),
        ..PolicyImage::sample(vec![level], vec![table])
    }
    .to_bytes()
    .unwrap()
}

#[test]
fn weights_without_images_infer_noise_of_each_sub_networks_size() {
    let folder = std::env::temp_dir().join(format!("coshift-published-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let place = Place(folder);
    let hash = write_model(&place.0);
    let plain = Input { images: None, corruption: None, tiles_run: 3, adapt: None, seed: 1 };
    let load = |models: &mut Models, (hash, rows): (u64, [u16; 2]), input: &Input<'_>| {
        let bytes = policy_image(hash, rows);
        let view = PolicyView::open(&bytes).unwrap();
        models.load(&view, &place.0, input).map_err(|fault| fault.to_string())
    };
    // By its hash, and by its accuracies where the policy names no hash.
    for bound in [hash, 0] {
        let mut models = Models::default();
        assert_eq!(load(&mut models, (bound, [7_000, 7_100]), &plain).unwrap(), "published");
        assert!(models.serves(0) && models.infers_noise(0) && !models.infers_noise(1));
        for sub_network in [0, 1, 0] {
            let job = Job {
                request: 0,
                application: "cam0".into(),
                slot: 0,
                table: 0,
                sub_network,
                level: Some(0),
                next: None,
                start: Time::START,
            };
            // Noise of another size would be refused.
            let judged = models.infer(&job).unwrap();
            assert_eq!((judged.images, judged.right), (0, 0));
        }
    }
    for (bound, rows) in [(0, [7_000, 7_101]), (hash ^ 1, [7_000, 7_100])] {
        let fault = load(&mut Models::default(), (bound, rows), &plain).unwrap_err();
        assert!(fault.contains(&format!("its hash is {hash:016x}; no network")), "{fault}");
    }
    let corruption = Some("noise:1".parse::<Corruption>().unwrap());
    for input in [Input { corruption, ..plain }, Input { adapt: Some(32), ..plain }] {
        let fault = load(&mut Models::default(), (hash, [7_000, 7_100]), &input).unwrap_err();
        assert!(fault.contains("28×28 pixels with 3 channel(s)"), "{fault}");
    }
    // Named images of another kind.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/coshift-28");
    let input = Input { images: Some(&shipped), ..plain };
    let fault = load(&mut Models::default(), (hash, [7_000, 7_100]), &input).unwrap_err();
    assert!(fault.contains("takes 28×28 with 3 channel(s)"), "{fault}");
}
