//! Some seconds of scenarios with the firmware's controller in the emulator; `cargo xtask soak ground`
//! plays three of them whole.

use std::path::PathBuf;

use coshift_tests::ground::{PLAYED, Played, play, scenario};
use coshift_tests::need::Needs;
use coshift_tools::ground::managers::Heard;

const SECONDS: u64 = 5;

fn played(name: &str, change: impl FnOnce(&mut Vec<Heard>)) -> Option<Played> {
    let needs = Needs::find()?;
    let Some(image) = std::env::var_os("COSHIFT_ANSWERS").map(PathBuf::from) else {
        println!("SKIPPED: the answering image (COSHIFT_ANSWERS; run `cargo xtask test`)");
        return None;
    };
    let scenario = scenario(name, Some(SECONDS)).unwrap();
    Some(play(&needs.qemu, &image, &scenario, change).unwrap())
}

#[test]
fn the_firmware_decides_in_scenarios_as_the_host_does() {
    for name in PLAYED {
        let Some(played) = played(name, |_| ()) else { return };
        println!("{played:?}");
        assert_eq!((played.compared.differing, &played.compared.first), (0, &None), "{name}");
        // One decision each control period of 50 ms.
        assert!(played.compared.decisions >= 20 * SECONDS, "{name}");
    }
}

#[test]
fn one_decision_that_differs_is_noticed() {
    let Some(played) = played("single-quiet", |record| {
        let decided = record.iter_mut().rev().find(|heard| !heard.frames.is_empty());
        *decided.unwrap().frames.last_mut().unwrap().last_mut().unwrap() ^= 1;
    }) else {
        return;
    };
    assert_eq!(played.compared.differing, 1);
}
