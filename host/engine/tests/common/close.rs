//! What is close enough.

/// Numbers that are compared.
pub(crate) trait Number: Copy + Into<f64> {}

impl Number for f32 {}
impl Number for f64 {}

/// max|a − b| ≤ 1e-4 · max|b|, and all of them finite.
pub(crate) fn close<A: Number, B: Number>(a: &[A], b: &[B], what: &str) -> Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("{what}: {} values in place of {}", a.len(), b.len()));
    }
    let top = b.iter().fold(1e-6_f64, |top, b| top.max((*b).into().abs()));
    let off = |(a, b): (&A, &B)| ((*a).into() - (*b).into()).abs();
    let far = |off: f64| !off.is_finite() || off > 1e-4 * top;
    match a.iter().zip(b).position(|pair| far(off(pair))) {
        None => Ok(()),
        Some(at) => {
            let (a, b): (f64, f64) = (a[at].into(), b[at].into());
            Err(format!("{what}: {a} in place of {b} at {at}, where the largest value is {top}"))
        }
    }
}

/// [`close`], or the test fails.
pub(crate) fn assert_close<A: Number, B: Number>(a: &[A], b: &[B], what: &str) {
    close(a, b, what).unwrap();
}
