//! Linear least squares.

use super::FitError;

/// Coefficients `x` that minimise the sum of `((row·x − y)/y)²`: relative errors count, so that slow
/// and fast points weigh the same. `None` where the rows do not determine them.
#[must_use]
pub fn relative_least_squares<const N: usize>(points: &[([f64; N], f64)]) -> Option<[f64; N]> {
    let mut matrix = [[0.0; N]; N];
    let mut right = [0.0; N];
    for (row, y) in points {
        for (i, a) in row.iter().enumerate() {
            right[i] += a / y;
            for (j, b) in row.iter().enumerate() {
                matrix[i][j] += a * b / (y * y);
            }
        }
    }
    solve(matrix, right)
}

/// Gauss elimination with row pivots; `None` where the matrix is singular to working precision.
pub(super) fn solve<const N: usize>(
    mut matrix: [[f64; N]; N],
    mut right: [f64; N],
) -> Option<[f64; N]> {
    let largest = matrix.iter().flatten().map(|value| value.abs()).fold(0.0, f64::max);
    for column in 0..N {
        let pivot = (column..N)
            .max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (chosen, chosen_right) = (matrix[column], right[column]);
        let divisor = chosen[column];
        if divisor.abs() <= 1e-13 * largest {
            return None;
        }
        for row in (0..N).filter(|row| *row != column) {
            let factor = matrix[row][column] / divisor;
            for (value, from) in matrix[row].iter_mut().zip(chosen) {
                *value -= factor * from;
            }
            right[row] -= factor * chosen_right;
        }
    }
    let mut solution = right;
    for (index, value) in solution.iter_mut().enumerate() {
        *value /= matrix[index][index];
    }
    solution.iter().all(|value| value.is_finite()).then_some(solution)
}

/// Busy power by GPU clock: `P = p0 + p1·f + p3·f^exponent` (W, GHz).
///
/// `points` are (GPU clock in GHz, power in W). Returns the three coefficients and the fit error.
#[must_use]
pub fn power(points: &[(f64, f64)], exponent: f64) -> Option<([f64; 3], FitError)> {
    let row = |ghz: f64| [1.0, ghz, ghz.powf(exponent)];
    let rows: Vec<_> = points.iter().map(|(ghz, watt)| (row(*ghz), *watt)).collect();
    let found = relative_least_squares(&rows)?;
    let pairs: Vec<_> = rows
        .iter()
        .map(|(row, watt)| (row.iter().zip(found).map(|(a, x)| a * x).sum(), *watt))
        .collect();
    Some((found, FitError::of(&pairs)))
}

/// Latency by GPU clock at one memory and CPU clock, the share of the memory given:
/// `t = a·((1/f)^p + (ratio/f_top)^p)^(1/p) + c`, where `ratio` is the memory part ÷ the GPU part at
/// the highest GPU clock `f_top` of the points.
///
/// `points` are (GPU clock in MHz, latency in ms). Returns `a` (MHz·ms), `c` (ms) and the fit error.
#[must_use]
pub fn latency_by_gpu_clock(
    points: &[(f64, f64)],
    p: f64,
    ratio: f64,
) -> Option<([f64; 2], FitError)> {
    let top = points.iter().map(|(mhz, _)| *mhz).fold(0.0, f64::max);
    let shape = |mhz: f64| (mhz.recip().powf(p) + (ratio / top).powf(p)).powf(p.recip());
    let rows: Vec<_> = points.iter().map(|(mhz, ms)| ([shape(*mhz), 1.0], *ms)).collect();
    let [a, c] = relative_least_squares(&rows)?;
    let pairs: Vec<_> = rows.iter().map(|([shape, _], ms)| (a * shape + c, *ms)).collect();
    Some(([a, c], FitError::of(&pairs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_of_exact_points_are_found_again() {
        let points: Vec<_> = (1..9)
            .map(|step| f64::from(step) * 0.15)
            .map(|ghz| (ghz, 4.0 + 6.0 * ghz + 2.0 * ghz.powi(3)))
            .collect();
        let (found, error) = power(&points, 3.0).expect("eight points for three coefficients");
        for (found, put) in found.iter().zip([4.0, 6.0, 2.0]) {
            assert!((found - put).abs() < 1e-9, "{found} for {put}");
        }
        assert!(error.max_pct < 1e-9);
    }

    #[test]
    fn latency_coefficients_are_found_again() {
        let law =
            |mhz: f64| 3000.0 * ((1.0 / mhz).powi(2) + (0.5_f64 / 1000.0).powi(2)).sqrt() + 2.0;
        let points: Vec<_> = (1..=10).map(|n| f64::from(n) * 100.0).map(|f| (f, law(f))).collect();
        let ([a, c], error) = latency_by_gpu_clock(&points, 2.0, 0.5).expect("ten points");
        assert!((a - 3000.0).abs() < 1e-6 && (c - 2.0).abs() < 1e-9, "{a} {c}");
        assert!(error.max_pct < 1e-9);
    }

    #[test]
    fn too_few_points_give_nothing() {
        assert_eq!(power(&[(0.5, 7.0), (1.0, 11.0)], 3.0), None);
        assert_eq!(power(&[], 3.0), None);
        assert_eq!(latency_by_gpu_clock(&[(500.0, 10.0)], 2.0, 0.0), None);
    }
}
