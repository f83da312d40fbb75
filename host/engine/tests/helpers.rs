//! What the other tests rest on: comparisons that see what is wrong, skips that are counted.

#[allow(dead_code, reason = "a part of it is enough")]
mod common;

use std::path::Path;
use std::process::Command;

use common::close::close;
use common::need::data;

const WANT: [f32; 3] = [2.0, -1.0, 0.0];

#[test]
fn values_that_are_close_are() {
    assert_eq!(close(&WANT, &WANT, "x"), Ok(()));
    // A ten-thousandth of the largest, wherever it is.
    assert_eq!(close(&[2.000_19, -1.000_19, 0.000_19], &WANT, "x"), Ok(()));
    assert_eq!(close::<f32, f64>(&[], &[], "x"), Ok(()));
    assert_eq!(close(&[0.5_f32], &[0.500_04_f64], "x"), Ok(()));
}

#[test]
fn one_value_that_is_not_is_named_with_its_place() {
    let said = close(&[2.0, -1.0, 0.000_21], &WANT, "unit 7").unwrap_err();
    assert!(said.starts_with("unit 7: 0.0002"), "{said}");
    assert!(said.ends_with(" in place of 0 at 2, where the largest value is 2"), "{said}");
    assert!(close(&[0.5_f32], &[0.500_06_f64], "x").is_err());
    let said = close(&WANT[..2], &WANT, "x").unwrap_err();
    assert_eq!(said, "x: 2 values in place of 3");
}

#[test]
fn what_is_not_finite_is_close_to_nothing() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in 0..3 {
            let mut spoilt = WANT;
            spoilt[at] = wrong;
            let what = format!("{wrong} at {at}");
            assert!(close(&spoilt, &WANT, &what).is_err(), "{what}");
            assert!(close(&WANT, &spoilt, &what).is_err(), "expected {what}");
            assert!(close(&spoilt, &spoilt, &what).is_err(), "{what} in both");
        }
    }
}

#[test]
#[should_panic(expected = "logits: NaN in place of 2 at 0")]
fn a_test_that_meets_it_fails() {
    common::close::assert_close(&[f32::NAN, -1.0, 0.0], &WANT, "logits");
}

/// `cargo xtask test` counts a test as skipped where a line of its output begins so.
const MARK: &str = "SKIPPED: ";

#[test]
fn a_file_that_is_missing_is_said_where_it_is_counted() {
    let name = "a_file_that_is_missing_is_said_where_it_is_counted";
    if std::env::var_os("COSHIFT_HELPERS_CHILD").is_some() {
        assert_eq!(data("ofa/x.json"), None);
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--show-output"]).env("COSHIFT_HELPERS_CHILD", "1");
    let output = child.env("COSHIFT_DATA", "/nowhere").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let line = format!("{MARK}/nowhere/ofa/x.json (measured data: COSHIFT_DATA or ../shared/data)");
    assert!(said.lines().any(|said| said == line), "{said}");
}

#[test]
fn no_test_says_a_skip_in_another_way() {
    let other = ["\"skip", "ped: "].concat();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for folder in ["tests", "../tests", "../../tools/tests", "../../tests/tests"] {
        for entry in std::fs::read_dir(here.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains(&other), "{}: expected {MARK}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen} files");
}
