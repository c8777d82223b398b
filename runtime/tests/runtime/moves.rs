//! The kernels that only move rows, against what they should give to the bit.

use bytec_plan::extent::{Extent, Rows};
use bytec_plan::kernel::{BinaryFn, Broadcast, Instr, Joined, Kernel};

use crate::kernels::{f64s, report, rows_of};
use crate::programs::{Build, L, Noise, check};

/// Adds an extent to the program; the rows that it counts.
fn rows(build: &mut Build, extent: Extent) -> Rows {
    build.program.extents.push(extent);
    Rows::Ragged(build.program.extents.len() as u32 - 1)
}

#[test]
fn rows_behind_one_another() {
    let mut noise = Noise(35);
    let shared = noise.floats(3 * 5);
    let mut build = Build::new(false);
    let x = build.input("x", L, 5);
    let weight = build.weight(&[3, 5], &shared);
    let term = |coefficient, factors| bytec_plan::extent::Term { coefficient, factors };
    let joined = Extent::Sum(vec![term(2, vec![Extent::Symbol(0)]), term(3, vec![])]);
    let counted = rows(&mut build, joined.clone());
    let parts = vec![Joined::Rows, Joined::Shared { rows: 3 }, Joined::Rows];
    let kernel = Kernel::Join { width: 5, parts };
    let out = build.step(kernel, vec![x, weight, x], counted, 5);
    build.output("out", out);
    build.program.outputs[0].shape[0] = joined;
    let error = check(&build, &rows_of(5, &mut noise), |sample| {
        let x = f64s(&sample.floats[0].2);
        [&x[..], &f64s(&shared), &x].concat()
    });
    report("join", error, 1e-7);
}

#[test]
fn elements_of_rows_and_of_samples_in_another_order() {
    // Each row of 2 x 3 x 4 with its axes turned, without the first of the second one.
    let mut build = Build::new(false);
    let x = build.input("x", L, 24);
    let (shape, strides) = (vec![4, 2, 2], vec![1, 4, 12]);
    let kernel = Kernel::Permute { from: [1, 24], to: [1, 16], start: 4, shape, strides };
    let out = build.step(kernel, vec![x], L, 16);
    build.output("out", out);
    let error = check(&build, &rows_of(24, &mut Noise(36)), |sample| {
        let x = f64s(&sample.floats[0].2);
        let turned = |row: &[f64]| {
            let mut out = Vec::new();
            for a in 0..4 {
                for b in 1..3 {
                    out.extend((0..2).map(|c| row[c * 12 + b * 4 + a]));
                }
            }
            out
        };
        x.chunks(24).flat_map(turned).collect()
    });
    report("permute rows", error, 1e-7);
}

/// A row for each place, of a table that is as long as the longest sample may be.
#[test]
fn a_row_for_each_place() {
    let mut noise = Noise(37);
    let table = noise.floats(4096 * 3);
    let mut build = Build::new(false);
    let x = build.input("x", L, 3);
    let weight = build.weight(&[4096, 3], &table);
    let body = vec![Instr::Operand(0), Instr::Operand(1), Instr::Binary(BinaryFn::Max, 0, 1)];
    let operands = vec![Broadcast::Full, Broadcast::Place];
    let out = build.step(Kernel::Pointwise { width: 3, operands, body }, vec![x, weight], L, 3);
    build.output("out", out);
    let error = check(&build, &rows_of(3, &mut noise), |sample| {
        let x = f64s(&sample.floats[0].2);
        x.iter().zip(f64s(&table)).map(|(x, y)| x.max(y)).collect()
    });
    report("place", error, 1e-7);
}
