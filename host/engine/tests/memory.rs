//! Memory of networks and workspaces, counted by the program's allocator.

#[allow(dead_code, reason = "a part of it is enough")]
mod held;

use coshift_engine::family::{Family, OFA_12, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use held::used;

/// With statistics that leave values as they are.
fn plain(layout: &Layout, net: &SubNet) -> Calibrated {
    let norms = layout.units(net).into_iter().filter(|unit| unit.norm.is_some());
    let statistics = norms.map(|unit| (vec![0.0; unit.outputs], vec![1.0; unit.outputs])).collect();
    Calibrated { net: net.clone(), statistics }
}

#[test]
fn thirteen_levels_need_little_more_memory_than_the_largest_alone() {
    let layout = Layout::new(&serde_json::from_str::<Family>(OFA_12).unwrap()).unwrap();
    let values = optimiser::start(&layout, &mut Random(45));
    // What a network holds, and what a workspace for it does, after a call of each sub-network.
    let bytes = |nets: &[Calibrated]| {
        let made = || Network::new(layout.clone(), values.clone(), nets).unwrap();
        let (network, weights) = used(made);
        let (space, maps) = used(|| {
            let mut space = Workspace::default();
            for index in 0..network.len() {
                let image = vec![0.5; network.image_len_of(index).unwrap()];
                network.run(index, &image, &mut space).unwrap();
            }
            space
        });
        // The engine's own account leaves out names and tables only.
        for (said, found) in [(network.resident_bytes(), weights), (space.bytes(), maps)] {
            let found = found.held;
            assert!(said <= found && found <= said + said / 100, "{said} bytes, found {found}");
        }
        (weights.held, maps.held)
    };
    // The second ladder repeats sub-networks of the first: they still count.
    let levels: Vec<_> = dynamic_ofa().iter().map(|level| plain(&layout, &level.net)).collect();
    let (alone, alone_maps) = bytes(&levels[12..]);
    let (all, all_maps) = bytes(&levels);
    println!("all: {all} and {all_maps} bytes, the largest alone: {alone} and {alone_maps}");
    assert!(alone > 4 * layout.cost(&levels[12].net).1 as usize, "{alone} bytes");
    let ratio = (all + all_maps) as f64 / (alone + alone_maps) as f64;
    assert!(ratio <= 1.25, "{all} + {all_maps} bytes, alone {alone} + {alone_maps}: {ratio}");
    let ratio = all as f64 / alone as f64;
    assert!(ratio <= 1.25, "weights: {all} bytes, alone {alone}: {ratio}");
}
