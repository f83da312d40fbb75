//! What is close enough, and which class is the top one.

/// max|a − b| ≤ 1e-4 · max|b|; NaN never is.
pub(crate) fn close(a: &[f32], b: &[f32], what: &str) -> Result<(), String> {
    assert_eq!(a.len(), b.len(), "{what}");
    let top = b.iter().fold(1e-6_f32, |top, b| top.max(b.abs()));
    match a.iter().zip(b).position(|(a, b)| (a - b).abs() > 1e-4 * top || !(a - b).is_finite()) {
        None => Ok(()),
        Some(at) => Err(format!(
            "{what}: {} in place of {} at {at}, where the largest value is {top}",
            a[at], b[at]
        )),
    }
}

/// [`close`], or the test fails.
pub(crate) fn assert_close(a: &[f32], b: &[f32], what: &str) {
    close(a, b, what).unwrap();
}

/// The class with the largest logit.
pub(crate) fn top(logits: &[f32]) -> usize {
    let largest = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    largest.unwrap().0
}
