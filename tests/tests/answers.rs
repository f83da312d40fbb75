//! The controller in the emulator answers random histories as the controller of the host does.
//!
//! `cargo xtask soak twin` compares a million inputs.

use std::path::PathBuf;

use coshift_tests::answers::{Compared, History, compare, policies};
use coshift_tests::case::Case;
use coshift_tests::need::Needs;
use coshift_tests::random::Random;

const MESSAGES: u64 = 20_000;

fn run(
    messages: u64,
    draw: impl FnMut(&mut Random) -> anyhow::Result<History>,
) -> Option<Compared> {
    let needs = Needs::find()?;
    let Some(image) = std::env::var_os("COSHIFT_ANSWERS").map(PathBuf::from) else {
        println!("SKIPPED: the answering image (COSHIFT_ANSWERS; run `cargo xtask test`)");
        return None;
    };
    let compared = compare(&needs.qemu, &image, messages, 1, draw).unwrap();
    println!("{compared:?}");
    Some(compared)
}

#[test]
fn every_answer_is_the_same() {
    let policies = policies().unwrap();
    let mut turn = 0;
    let compared = run(MESSAGES, |random| {
        turn += 1;
        History::draw(&policies[turn % policies.len()], None, random)
    });
    let Some(compared) = compared else { return };
    assert_eq!((compared.differing, &compared.first), (0, &None));
    assert!(compared.decisions * 8 > compared.messages, "{compared:?}");
}

#[test]
fn a_controller_that_differs_is_noticed() {
    // It takes every latency for 3 % more.
    let case = Case::reference().unwrap();
    let slower = case.slower(30).unwrap();
    let compared = run(5_000, |random| History::draw(&case.image, Some(&slower), random));
    let Some(compared) = compared else { return };
    assert!(compared.differing_decisions > 20, "{compared:?}");
}
