//! One sub-network trained alone: which parameters it has.

use super::network::{Values, centre, zeros};
use crate::family::SubNet;
use crate::layout::{Kind, Layout, Unit};

/// 1 where a sub-network uses a parameter's value, 0 elsewhere.
///
/// Of a kernel that is shrunk these are its centre and the rows of the matrices that reach the kernel
/// in use.
///
/// # Panics
/// If the sub-network is not one of the family; see [`crate::family::Family::check_net`].
#[must_use]
pub fn used(layout: &Layout, net: &SubNet) -> Values {
    let mut used = zeros(layout);
    for unit in layout.units(net) {
        let weight = &mut used[unit.weight];
        match unit.kind {
            Kind::Pointwise => corner(weight, unit.row, unit.outputs, unit.inputs),
            Kind::Dense => corner(weight, unit.row * 9, unit.outputs, unit.inputs * 9),
            Kind::Depthwise => {
                for row in weight.chunks_exact_mut(unit.full_kernel.pow(2)).take(unit.outputs) {
                    taps(&unit).for_each(|tap| row[tap] = 1.0);
                }
                for (step, (size, matrix)) in unit.shrinks.iter().enumerate() {
                    // What the next one crops away needs no row.
                    let next = unit.shrinks.get(step + 1).map_or(*size, |(size, _)| *size);
                    for row in centre(*size, next) {
                        used[*matrix][row * size * size..][..size * size].fill(1.0);
                    }
                }
            }
        }
        if let Some(norm) = unit.norm {
            used[norm][..unit.outputs].fill(1.0);
            used[norm + 1][..unit.outputs].fill(1.0);
        }
        if let Some(squeeze) = unit.squeeze {
            let (middle, outputs) = (squeeze.middle, unit.outputs);
            corner(&mut used[squeeze.reduce], squeeze.reduce_row, middle, outputs);
            used[squeeze.reduce + 1][..middle].fill(1.0);
            corner(&mut used[squeeze.expand], squeeze.expand_row, outputs, middle);
            used[squeeze.expand + 1][..outputs].fill(1.0);
        }
    }
    used[layout.classifier()].fill(1.0);
    used[layout.classifier() + 1].fill(1.0);
    used
}

/// Sets every value to 0 that the sub-network does not use.
///
/// A value that is 0 and that nothing uses stays so in a training: its gradient is 0, and so is its
/// decay.
///
/// # Panics
/// As [`used`].
pub fn keep_only(layout: &Layout, net: &SubNet, values: &mut Values) {
    for (values, used) in values.iter_mut().zip(used(layout, net)) {
        for (value, used) in values.iter_mut().zip(used) {
            if used == 0.0 {
                *value = 0.0;
            }
        }
    }
}

/// Places of the whole kernel that the kernel in use is made from.
fn taps(unit: &Unit) -> impl Iterator<Item = usize> {
    // The first matrix takes the centre of the whole kernel; later ones see what it gives.
    let first = unit.shrinks.first().map_or(unit.full_kernel, |(size, _)| *size);
    centre(unit.full_kernel, first)
}

/// The first `columns` of the first `rows` rows.
fn corner(weight: &mut [f32], row: usize, rows: usize, columns: usize) {
    weight.chunks_exact_mut(row).take(rows).for_each(|row| row[..columns].fill(1.0));
}
