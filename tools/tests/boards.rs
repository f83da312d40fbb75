//! The shipped boards name the shipped model as it is.
#![cfg(feature = "engine")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use coshift_engine::layout::Layout;
use coshift_engine::model::Model;
use coshift_plant::Board;

const NETWORK: &str = "coshift-28";
/// What stands before the sub-networks in each board file.
const MARK: &str = "# Written by the test `boards_hold_the_shipped_model`";
/// Latency of the largest sub-network at the highest level, µs: in the middle of 25 to 40 ms.
const TARGET_US: f64 = 32_000.0;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn boards() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("boards")).unwrap();
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(paths.len() >= 3, "{paths:?}");
    paths
}

/// The sub-networks of the model as tables of a board file.
fn rows(model: &Model) -> String {
    let layout = Layout::new(&model.family).unwrap();
    let mut text = String::new();
    for sub in &model.sub_networks {
        let bytes = layout.traffic_bytes(&sub.net);
        write!(
            text,
            "\n[[network.{NETWORK}.sub_network]]\nid = {}\naccuracy_pct = {}\nmacs = {}\nparams = {}\nbytes \
             = {bytes}\nblocks = {}\nresolution = {}\n",
            sub.index, sub.accuracy_pct, sub.macs, sub.params, sub.blocks, model.family.resolution
        )
        .unwrap();
    }
    text
}

/// A board file's text with the model's figures, its hash, and as many tiles as bring the largest
/// sub-network to [`TARGET_US`].
fn renewed(text: &str, model: &Model) -> String {
    let at = text.find(MARK).expect("the mark before the sub-networks");
    let line = at + text[at..].find('\n').unwrap() + 1;
    let head = renamed(&text[..line], "model_hash = ", &format!("\"{}\"", model.model_hash));
    let with = |tiles: u32| renamed(&head, "tiles = ", &tiles.to_string()) + rows(model).as_str();
    let board = Board::parse(&with(100), "renewed").unwrap();
    let network = board.network(NETWORK).unwrap();
    with(board.tiles_for(network, TARGET_US))
}

/// The text with another value of a key in the table of [`NETWORK`].
fn renamed(text: &str, key: &str, value: &str) -> String {
    let table = text.find(&format!("[network.{NETWORK}]")).expect("the network's table");
    let from = table + text[table..].find(key).expect(key) + key.len();
    let to = from + text[from..].find('\n').unwrap();
    format!("{}{value}{}", &text[..from], &text[to..])
}

#[test]
fn boards_hold_the_shipped_model() {
    let model = Model::read(&root().join("models/coshift-28")).unwrap();
    let bless = std::env::var_os("COSHIFT_BLESS").is_some_and(|value| value == "1");
    for path in boards() {
        let text = std::fs::read_to_string(&path).unwrap();
        let renewed = renewed(&text, &model);
        if bless {
            std::fs::write(&path, renewed).unwrap();
        } else {
            assert_eq!(text, renewed, "{}: COSHIFT_BLESS=1 writes it anew", path.display());
        }
    }
}

/// The demo shifts the sub-network: that must be worth something on every board.
#[test]
fn latencies_of_the_shipped_model_span_a_factor_of_two_at_every_level() {
    for path in boards() {
        let board = Board::load(&path).unwrap();
        let network = board.network(NETWORK).unwrap();
        for (index, level) in board.levels.iter().enumerate() {
            let us = |sub| f64::from(board.latency_us(sub, level));
            let all = || network.sub_networks.iter().map(us);
            let (least, most) = (all().fold(f64::MAX, f64::min), all().fold(0.0, f64::max));
            assert!(most >= 2.0 * least, "{} level {index}: {least} to {most} µs", board.name);
        }
        let top = board.levels.last().unwrap();
        let largest = board.latency_us(network.sub_networks.last().unwrap(), top);
        assert!((25_000..=40_000).contains(&largest), "{}: {largest} µs", board.name);
        assert!(network.tiles > 1 && network.model_hash != 0, "{}", board.name);
    }
}
