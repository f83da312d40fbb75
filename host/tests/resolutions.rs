//! Sub-networks of several resolutions in the agent: each is given the same images, brought to its own.
#![cfg(feature = "engine")]

use std::path::{Path, PathBuf};

use coshift_engine::family::{COSHIFT_28, Family, SubNet};
use coshift_engine::images::{Half, ImageSet};
use coshift_engine::layout::Layout;
use coshift_engine::model::{self, Calibrated, Model, SubNetwork, blocks};
use coshift_engine::network::{Network, Workspace};
use coshift_engine::resample::{Resampler, resampled};
use coshift_engine::train::network::forward;
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_host::clock::Time;
use coshift_host::engine::{Infer, Input, Job, Models};
use coshift_shared::policy::{self, Cell, Level, PolicyImage, PolicyView, TableImage};

/// Images of a request, and of the folder: so that each request has all of them.
const TILES: usize = 200;

/// A folder of this test's own, gone with it.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// Of the family at 20, 28 and 36 pixels.
fn nets(family: &Family) -> [SubNet; 3] {
    [20, 28, 36].map(|side| family.at(family.largest(), side))
}

/// A model with random weights and the folder's images. Gives its hash.
fn write_model(folder: &Path, images: &ImageSet) -> u64 {
    let family =
        Family { resolutions: vec![20, 28, 36], ..serde_json::from_str(COSHIFT_28).unwrap() };
    let layout = Layout::new(&family).unwrap();
    let values = optimiser::start(&layout, &mut Random(23));
    let some = images.normalised(0, 32);
    let nets = nets(&family).map(|net| {
        let images = resampled(&some, &family, &net);
        let statistics = forward(&layout, &layout.units(&net), &values, &images, None).statistics;
        Calibrated { net, statistics }
    });
    let hash =
        model::write_weights(&folder.join("w.safetensors"), &layout, &values, &nets).unwrap();
    let sub_network = |(index, Calibrated { net, .. }): (usize, Calibrated)| {
        let (macs, params) = layout.cost(&net);
        SubNetwork {
            index,
            name: None,
            blocks: blocks(&net),
            net,
            macs,
            params,
            accuracy_pct: 10.0 + index as f64,
            images: 0,
            shipped_accuracy_pct: None,
        }
    };
    let description = Model {
        weights: "w.safetensors".into(),
        model_hash: format!("{hash:016x}"),
        published: None,
        sub_networks: nets.into_iter().enumerate().map(sub_network).collect(),
        family,
    };
    description.write(folder).unwrap();
    images.write(folder, Half::Test).unwrap();
    hash
}

/// A policy of one level with a row for each sub-network.
fn policy_image(model_hash: u64) -> Vec<u8> {
    let row = |id: u16| policy::SubNetwork {
        id: id.into(),
        model_hash,
        accuracy_bp: 1_000 + 100 * id,
        exit_threshold: u16::MAX,
    };
    let level =
        Level { cpu_khz: 1_000_000, gpu_khz: 1_000_000, emc_khz: 1_600_000, idle_mw: 2_000 };
    let cell = |row: u32| Cell { latency_us: 10_000 + 1_000 * row, energy_uj: 5_000 };
    let table = TableImage {
        name: "resolutions".into(),
        sub_networks: (0..3).map(row).collect(),
        cells: (0..3).map(|row| vec![cell(row)]).collect(),
    };
    PolicyImage {
        board: "test-board".into(),
        runtime: "law".into(),
        ..PolicyImage::sample(vec![level], vec![table])
    }
    .to_bytes()
    .unwrap()
}

/// How many of the images a network puts into their class, brought to `side` pixels by hand.
fn right(network: &Network, index: usize, set: &ImageSet, side: usize) -> u32 {
    let mut images = Vec::new();
    Resampler::new(set.side, side, 1).append(&set.normalised(0, set.len()), &mut images);
    let mut space = Workspace::default();
    let logits = network.run(index, &images, &mut space).unwrap();
    let right = logits
        .chunks_exact(10)
        .zip(&set.labels)
        .filter(|(row, label)| row.iter().all(|logit| *logit <= row[usize::from(**label)]));
    u32::try_from(right.count()).unwrap()
}

#[test]
fn each_sub_network_is_given_the_images_at_its_resolution() {
    let folder = std::env::temp_dir().join(format!("coshift-resolutions-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let place = Place(folder);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/coshift-28");
    let mut set = ImageSet::read(&shipped, Half::Test).unwrap();
    set.split_off(TILES);
    let hash = write_model(&place.0, &set);
    let (network, _) = Network::load(&place.0).unwrap();
    let wanted: Vec<u32> = [20, 28, 36]
        .into_iter()
        .enumerate()
        .map(|(i, side)| right(&network, i, &set, side))
        .collect();
    assert!(wanted[0] != wanted[1] && wanted[1] != wanted[2], "{wanted:?} tell nothing");

    let bytes = policy_image(hash);
    let view = PolicyView::open(&bytes).unwrap();
    for adapt in [None, Some(32)] {
        let mut models = Models::default();
        let input = Input { images: None, corruption: None, tiles_run: TILES, adapt, seed: 1 };
        assert_eq!(models.load(&view, &place.0, &input).unwrap(), "resolutions");
        let mut job = Job {
            request: 0,
            application: "cam0".into(),
            slot: 0,
            table: 0,
            sub_network: 0,
            level: Some(0),
            next: None,
            start: Time::START,
        };
        for sub_network in [0, 1, 2, 1, 0] {
            job.sub_network = sub_network;
            let judged = models.infer(&job).unwrap();
            assert_eq!(judged.images, TILES as u32);
            if judged.adapted.times == 0 {
                assert_eq!(judged.right, wanted[usize::from(sub_network)], "{sub_network}");
            }
        }
        // Tables for all of them come out of the background, made of the same images.
        while adapt.is_some() {
            let judged = models.infer(&job).unwrap();
            if judged.adapted.times > 1 {
                break;
            }
            job.sub_network = (job.sub_network + 1) % 3;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
