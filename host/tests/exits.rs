//! Early exits: the threshold of the policy's row is what a model of the agent runs with.
#![cfg(feature = "engine")]

use std::path::{Path, PathBuf};

use coshift_engine::family::{COSHIFT_28, Exit, Family};
use coshift_engine::images::{Half, ImageSet};
use coshift_engine::layout::Layout;
use coshift_engine::model::{self, Calibrated, Model, SubNetwork, blocks};
use coshift_engine::network::{Exiting, Network, Workspace};
use coshift_engine::train::network::forward;
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_host::clock::Time;
use coshift_host::engine::{Infer, Input, Job, Models};
use coshift_shared::policy::{self, Cell, Level, PolicyImage, PolicyView, TableImage};

/// Images of a request.
const TILES: usize = 250;

/// A folder of this test's own, gone with it.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/coshift-28")
}

/// A model with random weights, an exit after each of two stages, and three times the same
/// sub-network.
fn write_model(folder: &Path) -> u64 {
    let exits = vec![Exit { stage: 0, threshold: 0.5 }, Exit { stage: 1, threshold: 0.5 }];
    let family = Family { exits, ..serde_json::from_str(COSHIFT_28).unwrap() };
    let layout = Layout::new(&family).unwrap();
    let mut random = Random(17);
    let mut values = optimiser::start(&layout, &mut random);
    for number in 0..2 {
        // Surer of some images than of others.
        values[layout.exit(number)].iter_mut().for_each(|weight| *weight = random.normal());
    }
    let net = family.largest();
    let units = layout.units(&net);
    let images = ImageSet::read(&shipped(), Half::Test).unwrap().normalised(0, 32);
    let statistics = forward(&layout, &units, &values, &images, None).statistics;
    let nets = vec![Calibrated { net: net.clone(), statistics }; 3];
    let hash =
        model::write_weights(&folder.join("w.safetensors"), &layout, &values, &nets).unwrap();
    let (macs, params) = layout.cost(&net);
    let sub_network = |index: usize| SubNetwork {
        index,
        name: None,
        net: net.clone(),
        macs,
        params,
        blocks: blocks(&net),
        accuracy_pct: 10.0 + index as f64,
        images: 0,
        shipped_accuracy_pct: None,
    };
    let description = Model {
        family,
        weights: "w.safetensors".into(),
        model_hash: format!("{hash:016x}"),
        published: None,
        sub_networks: (0..3).map(sub_network).collect(),
    };
    description.write(folder).unwrap();
    hash
}

/// A policy of one level whose rows leave early at these thresholds.
fn policy_image(model_hash: u64, thresholds: [u16; 3]) -> Vec<u8> {
    let sub_networks: Vec<_> = (0..)
        .zip(thresholds)
        .map(|(id, exit_threshold)| policy::SubNetwork {
            id,
            model_hash,
            accuracy_bp: 1_000 + 100 * u16::try_from(id).unwrap(),
            exit_threshold,
        })
        .collect();
    let level =
        Level { cpu_khz: 1_000_000, gpu_khz: 1_000_000, emc_khz: 1_600_000, idle_mw: 2_000 };
    let cell = |row: u32| Cell { latency_us: 10_000 + 1_000 * row, energy_uj: 5_000 };
    let table = TableImage {
        name: "exiting".into(),
        sub_networks,
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

#[test]
fn images_leave_where_the_policys_row_says() {
    let folder = std::env::temp_dir().join(format!("coshift-exits-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let place = Place(folder);
    let hash = write_model(&place.0);

    // A threshold that some of the images reach and some do not.
    let (network, _) = Network::load(&place.0).unwrap();
    let mut images = ImageSet::read(&shipped(), Half::Test).unwrap();
    images.split_off(TILES);
    images.write(&place.0, Half::Test).unwrap();
    let images = images.normalised(0, TILES);
    let mut space = Workspace::default();
    let mut leave = |exiting| {
        network.run_exiting(0, &images, exiting, &mut space).unwrap();
        space.exits().flatten().count()
    };
    let middle = (1..32_u16)
        .map(|share| share * 2048)
        .find(|share| leave(Exiting::of_row(*share)) * 4 < TILES * 3)
        .expect("a threshold in the middle");
    let some = leave(Exiting::of_row(middle));
    assert!(some * 10 > TILES, "{some} of {TILES} leave at {middle}/65535");

    let bytes = policy_image(hash, [0, middle, u16::MAX]);
    let view = PolicyView::open(&bytes).unwrap();
    let mut early = [0; 3];
    for (row, early) in (0_u8..).zip(&mut early) {
        let mut models = Models::default();
        let input =
            Input { images: None, corruption: None, tiles_run: TILES, adapt: None, seed: 1 };
        assert_eq!(models.load(&view, &place.0, &input).unwrap(), "exiting");
        let job = Job {
            request: 0,
            application: "cam0".into(),
            slot: 0,
            table: 0,
            sub_network: row,
            level: Some(0),
            next: None,
            start: Time::START,
        };
        let judged = models.infer(&job).unwrap();
        assert_eq!(judged.images, TILES as u32);
        *early = judged.early as usize;
    }
    assert_eq!(early, [TILES, some, 0]);
}
