//! Cases of the kernels that put numbers elsewhere or turn them, and what they have to give.

use bytec_compiler::render::{Float, Matrix};
use bytec_plan::attention::{Pairs, Rotary};
use bytec_plan::kernel::{Joined, Kernel, Part};

use super::cases::{Case, Inputs, Operand, lengths, weight};
use super::inputs::numbers;
use super::oracle::{Near, U};

/// Rows of the special batches: more than a block has.
const ROWS: usize = 203;

/// Packed rows in a buffer of rows that are three times as wide.
fn view(rows: usize, width: usize, seed: u64) -> Operand {
    let matrix = Matrix { column: width as u64, stride: 3 * width as u64 };
    Operand::Rows(numbers(rows * width, seed, 1.0), width, matrix)
}

pub(super) fn rotary(
    name: &'static str,
    dtype: Float,
    (heads, head_size): (usize, usize),
    (pairs, dims): (Pairs, usize),
    inputs: Inputs,
) -> Case {
    let rotary = Rotary { pairs, dims: dims as u32 };
    let kernel = Kernel::Rotary { heads: heads as u32, head_size: head_size as u32, rotary };
    let (width, lengths) = (heads * head_size, lengths(inputs, ROWS));
    let angles = |place: usize| (0..dims / 2).map(move |pair| place as f64 / (1.0 + pair as f64));
    let longest = lengths.iter().max().copied().unwrap_or(0);
    let turns = (0..longest)
        .flat_map(|place| angles(place).map(f64::cos).chain(angles(place).map(f64::sin)));
    let operands = vec![view(lengths.iter().sum(), width, 1), Operand::Floats(turns.collect())];
    Case::new(name, dtype, kernel, operands, width, lengths)
}

/// A row's axes in another order, in vectors.
pub(super) fn permute_rows(inputs: Inputs) -> Case {
    let (shape, strides) = (vec![3, 4, 8], vec![8, 24, 1]);
    let kernel = Kernel::Permute { from: [1, 96], to: [1, 96], start: 0, shape, strides };
    let lengths = lengths(inputs, ROWS);
    let x = view(lengths.iter().sum(), 96, 1);
    Case::new("permute f16, of rows", Float::F16, kernel, vec![x], 96, lengths)
}

/// A part of the matrix that is a sample, transposed.
pub(super) fn permute_samples(inputs: Inputs) -> Case {
    let (shape, strides) = (vec![25, 4], vec![1, 30]);
    let kernel = Kernel::Permute { from: [4, 30], to: [25, 4], start: 3, shape, strides };
    // A block has 1024 rows of the output.
    let samples = if inputs == Inputs::Usual { 7 } else { 83 };
    let x = view(4 * samples, 30, 1);
    let case =
        Case::new("permute f16, of samples", Float::F16, kernel, vec![x], 4, vec![4; samples]);
    Case { given: vec![25; samples], ..case }
}

/// Two matrices and a weight, by turns.
pub(super) fn concat(inputs: Inputs) -> Case {
    let part = |columns, weight| Part { columns, weight };
    let kernel =
        Kernel::Concat { groups: 2, parts: vec![part(8, false), part(8, true), part(4, false)] };
    let lengths = lengths(inputs, ROWS);
    let rows = lengths.iter().sum();
    let operands = vec![view(rows, 16, 1), weight(16, 2), view(rows, 8, 3)];
    Case::new("concat f16", Float::F16, kernel, operands, 40, lengths)
}

/// Two rows of a weight, a sample's rows, and its rows of another operand.
pub(super) fn join(inputs: Inputs) -> Case {
    let parts = vec![Joined::Shared { rows: 2 }, Joined::Rows, Joined::Rows];
    let kernel = Kernel::Join { width: 200, parts };
    let (lengths, keys) = (lengths(inputs, 67), vec![2, 7, 0, 31, 1]);
    let given = lengths.iter().zip(&keys).map(|(rows, others)| 2 + rows + others).collect();
    let others = numbers(keys.iter().sum::<usize>() * 200, 3, 1.0);
    let operands = vec![
        weight(400, 1),
        view(lengths.iter().sum(), 200, 2),
        Operand::Keys(others, 200, Matrix::dense(200)),
    ];
    let case = Case::new("join f16", Float::F16, kernel, operands, 200, lengths);
    Case { given, keys, ..case }
}

pub(super) fn unfold(inputs: Inputs) -> Case {
    let kernel = Kernel::Unfold { width: 40, size: 3, before: 1 };
    let lengths = lengths(inputs, ROWS);
    let x = view(lengths.iter().sum(), 40, 1);
    Case::new("unfold f16", Float::F16, kernel, vec![x], 120, lengths)
}

/// Numbers as they are.
fn moved(numbers: impl IntoIterator<Item = f64>) -> Vec<Near> {
    numbers.into_iter().map(|value| Near { value, error: 0.0 }).collect()
}

/// What a rotation gives.
pub(super) fn turned(case: &Case, head_size: usize, rotary: Rotary) -> Vec<Near> {
    let [x, turns] = [0, 1].map(|nth| case.operands[nth].data());
    let (mut out, dims) = (moved(x.iter().copied()), rotary.dims as usize);
    let places = case.lengths.iter().flat_map(|length| 0..*length);
    let rows = out.chunks_exact_mut(case.width).zip(places);
    for (head, place) in
        rows.flat_map(|(row, place)| row.chunks_exact_mut(head_size).map(move |head| (head, place)))
    {
        let (cosines, sines) = turns[place * dims..][..dims].split_at(dims / 2);
        for (pair, (cosine, sine)) in cosines.iter().zip(sines).enumerate() {
            let [left, right] = match rotary.pairs {
                Pairs::Half => [pair, pair + dims / 2],
                Pairs::Interleaved => [2 * pair, 2 * pair + 1],
            };
            let (a, b) = (head[left].value, head[right].value);
            // A product is rounded, and then its sum with the other.
            let of = |x: f64, y: f64| Near { value: x + y, error: 2.0 * U * (x.abs() + y.abs()) };
            head[left] = of(a * cosine, -(b * sine));
            head[right] = of(b * cosine, a * sine);
        }
    }
    out
}

/// The elements of each block in another order.
pub(super) fn permuted(
    case: &Case,
    from: [u32; 2],
    (start, shape, strides): (u32, &[u32], &[u32]),
) -> Vec<Near> {
    let elements =
        shape.iter().zip(strides).fold(vec![start as usize], |before, (extent, stride)| {
            let along = |first| (0..*extent).map(move |at| first + (at * stride) as usize);
            before.into_iter().flat_map(along).collect()
        });
    let blocks = case.operands[0].data().chunks_exact((from[0] * from[1]) as usize);
    moved(blocks.flat_map(|block| elements.iter().map(|element| block[*element])))
}

/// The next columns of each operand, so many times a row.
pub(super) fn concatenated(case: &Case, groups: u32, parts: &[Part]) -> Vec<Near> {
    let mut out = Vec::new();
    for row in 0..case.lengths.iter().sum() {
        for group in 0..groups as usize {
            for (operand, part) in case.operands.iter().zip(parts) {
                let columns = part.columns as usize;
                let first = if part.weight { 0 } else { row * groups as usize * columns };
                out.extend_from_slice(&operand.data()[first + group * columns..][..columns]);
            }
        }
    }
    moved(out)
}

/// The rows of each operand, one operand after the other in each sample.
pub(super) fn joined(case: &Case) -> Vec<Near> {
    let mut out = Vec::new();
    for sample in 0..case.lengths.len() {
        for operand in &case.operands {
            let rows = match operand {
                Operand::Rows(..) => case.rows(sample),
                Operand::Keys(..) => case.keys_of(sample),
                _ => 0..operand.data().len() / case.width,
            };
            out.extend_from_slice(&operand.data()[rows.start * case.width..rows.end * case.width]);
        }
    }
    moved(out)
}

/// Each row's neighbours in its sample, or zeros.
pub(super) fn unfolded(case: &Case, width: usize, (size, before): (usize, usize)) -> Vec<Near> {
    let x = case.operands[0].data();
    let mut out = Vec::new();
    for sample in 0..case.lengths.len() {
        let rows = case.rows(sample);
        for place in rows.clone().flat_map(|row| (0..size).map(move |tap| row + tap)) {
            match place.checked_sub(before).filter(|row| rows.contains(row)) {
                Some(row) => out.extend_from_slice(&x[row * width..][..width]),
                None => out.resize(out.len() + width, 0.0),
            }
        }
    }
    moved(out)
}
