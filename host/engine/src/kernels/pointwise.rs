//! Pointwise convolutions as matrix products.
//!
//! `x` is `[pixels, inputs]`, `y` is `[pixels, outputs]`, the weight `[outputs, row]` with
//! `row ≥ inputs`: a sub-network uses the first rows and columns of a larger weight in place.

use gemm::Parallelism;

/// One matrix of a product: its first element and the distances of rows and columns.
struct Matrix<'a> {
    data: &'a [f32],
    row: usize,
    column: usize,
}

fn fits(length: usize, rows: usize, columns: usize, row: usize, column: usize) -> bool {
    rows == 0 || columns == 0 || (rows - 1) * row + (columns - 1) * column < length
}

/// `out[m, n] (+)= a[m, k] · b[k, n]`, `out` with contiguous rows of `out_row`.
fn product(
    (m, n, k): (usize, usize, usize),
    out: &mut [f32],
    out_row: usize,
    accumulate: bool,
    a: &Matrix<'_>,
    b: &Matrix<'_>,
) {
    assert!(fits(out.len(), m, n, out_row, 1), "the product does not fit its destination");
    assert!(fits(a.data.len(), m, k, a.row, a.column), "left matrix out of range");
    assert!(fits(b.data.len(), k, n, b.row, b.column), "right matrix out of range");
    // SAFETY: the three asserts show that every element that is touched lies in its slice, and
    // `out` is borrowed exclusively, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_row as isize,
            accumulate,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// `y = x · Wᵀ`.
pub fn forward(
    x: &[f32],
    weight: &[f32],
    row: usize,
    inputs: usize,
    outputs: usize,
    y: &mut [f32],
) {
    let pixels = x.len() / inputs;
    product(
        (pixels, outputs, inputs),
        y,
        outputs,
        false,
        &Matrix { data: x, row: inputs, column: 1 },
        &Matrix { data: weight, row: 1, column: row },
    );
}

/// `dx = dy · W`.
pub fn backward_input(
    dy: &[f32],
    weight: &[f32],
    row: usize,
    inputs: usize,
    outputs: usize,
    dx: &mut [f32],
) {
    let pixels = dy.len() / outputs;
    product(
        (pixels, inputs, outputs),
        dx,
        inputs,
        false,
        &Matrix { data: dy, row: outputs, column: 1 },
        &Matrix { data: weight, row, column: 1 },
    );
}

/// `dW += dyᵀ · x`.
pub fn backward_weight(
    dy: &[f32],
    x: &[f32],
    row: usize,
    inputs: usize,
    outputs: usize,
    dweight: &mut [f32],
) {
    let pixels = dy.len() / outputs;
    product(
        (outputs, inputs, pixels),
        dweight,
        row,
        true,
        &Matrix { data: dy, row: 1, column: outputs },
        &Matrix { data: x, row: inputs, column: 1 },
    );
}
