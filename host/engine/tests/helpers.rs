//! What the other tests rest on: comparisons that see what is wrong.

#[allow(dead_code, reason = "a part of it is enough")]
mod common;

use common::close::close;

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
