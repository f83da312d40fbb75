//! A policy is uploaded to the release image in the emulator, and power is lost at every store.
//!
//! `cargo xtask soak power-cuts` does the same for every store of the full image.

use std::path::PathBuf;

use coshift_tests::need::Needs;
use coshift_tests::power_cuts::{Point, Tally, Upload};

const SEED: u64 = 1;
/// Boots where not everything is tried.
const BOOTS: usize = 300;

/// Boots on every point; no other policy than the old and the new one may run.
fn must_hold(
    needs: &Needs,
    small: bool,
    most: usize,
    points: impl FnOnce(&Upload) -> Vec<Point>,
) -> Tally {
    let upload = Upload::log(needs, small).unwrap();
    let tally = upload.boots(&points(&upload), most, SEED).unwrap();
    println!("{}", upload.line(&tally));
    assert_eq!(tally.violations, Vec::<String>::new());
    tally
}

#[test]
fn power_lost_at_every_store_of_a_small_upload() {
    let Some(needs) = Needs::find() else { return };
    let tally = must_hold(&needs, true, usize::MAX, Upload::all);
    assert!(tally.old > 300 && tally.new > 0 && tally.finished > 3, "{tally:?}");
}

#[test]
fn power_lost_at_drawn_stores_of_a_full_upload() {
    let Some(needs) = Needs::find() else { return };
    let tally = must_hold(&needs, false, BOOTS, |upload| Upload::shuffled(upload.all(), SEED));
    assert_eq!(tally.boots, BOOTS);
}

#[test]
fn bits_that_flip_after_a_small_upload() {
    let Some(needs) = Needs::find() else { return };
    let tally = must_hold(&needs, true, BOOTS, |upload| Upload::shuffled(upload.all_later(), SEED));
    assert!(tally.old > 30 && tally.new > 30, "{tally:?}");
}

#[test]
fn an_upload_in_place_is_noticed() {
    let Some(needs) = Needs::find() else { return };
    let variable = "COSHIFT_FIRMWARE_IN_PLACE";
    let Some(firmware) = std::env::var_os(variable).map(PathBuf::from) else {
        println!("SKIPPED: the image that uploads in place ({variable}; run `cargo xtask test`)");
        return;
    };
    let upload = Upload::log(&Needs { firmware, ..needs }, true).unwrap();
    let points = Upload::shuffled(upload.all(), SEED);
    let tally = upload.boots(&points, BOOTS, SEED).unwrap();
    assert!(tally.violations.len() > 10, "{tally:?}");
}
