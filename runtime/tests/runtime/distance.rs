//! Attention's options, and the kernels that tell rows by their place, against their formulas in f64.

use bytec_plan::attention::{Band, Bias, Pairs, Rotary};
use bytec_plan::kernel::Kernel;
use bytec_runtime::Isa;

use crate::kernels::{f64s, report, rows_of, softmax};
use crate::programs::{Build, L, Noise, Owned, check, check_on, columns, ways};

/// The tables of a case, in f32 as the plan holds them.
#[derive(Default)]
struct Tables {
    /// The row of each distance.
    index: Vec<i32>,
    /// `[heads, 2 * reach + 1]`
    by_distance: Vec<f32>,
    keys: Vec<f32>,
    queries: Vec<f32>,
    turns: Vec<f32>,
}

struct Case {
    heads: usize,
    size: usize,
    /// Heads of queries for each of keys and values.
    group: usize,
    mask: Band,
    bias: Bias,
    rotary: Option<Rotary>,
}

/// Rows of the disentangled tables.
const ROWS: usize = 22;

impl Case {
    fn tables(&self, noise: &mut Noise) -> Tables {
        let mut tables = Tables::default();
        let width = self.heads * self.size;
        match &self.bias {
            Bias::None | Bias::Alibi { .. } => {}
            Bias::Relative { reach } => {
                tables.by_distance = noise.floats(self.heads * (2 * *reach as usize + 1));
            }
            Bias::Disentangled { reach, c2p, p2c } => {
                let reach = i64::from(*reach);
                // Rising, with rows that several distances share, and one that is past the tables.
                tables.index = (-reach..=reach).map(|d| ((d + reach) * 2 / 3) as i32).collect();
                tables.keys = noise.floats(if *c2p { ROWS * width } else { 0 });
                tables.queries = noise.floats(if *p2c { ROWS * width } else { 0 });
            }
        }
        if let Some(rotary) = self.rotary {
            let pairs = rotary.dims / 2;
            let angle =
                |p: u32, c: u32| f64::from(p) * 50f64.powf(-f64::from(c) / f64::from(pairs));
            for p in 0..4096 {
                tables.turns.extend((0..pairs).map(|c| angle(p, c).cos() as f32));
                tables.turns.extend((0..pairs).map(|c| angle(p, c).sin() as f32));
            }
        }
        tables
    }

    /// One head of a row turned, or as it is.
    fn turned(&self, tables: &Tables, x: &[f64], row: usize) -> Vec<f64> {
        let mut out = x.to_vec();
        let Some(Rotary { pairs, dims }) = self.rotary else { return out };
        let (dims, half) = (dims as usize, dims as usize / 2);
        for c in 0..half {
            let turns = &tables.turns[row * dims..][..dims];
            let (cos, sin) = (f64::from(turns[c]), f64::from(turns[half + c]));
            let [a, b] = match pairs {
                Pairs::Half => [c, c + half],
                Pairs::Interleaved => [2 * c, 2 * c + 1],
            };
            (out[a], out[b]) = (x[a] * cos - x[b] * sin, x[b] * cos + x[a] * sin);
        }
        out
    }

    fn bias(&self, tables: &Tables, head: usize, distance: i64) -> f64 {
        match &self.bias {
            Bias::Alibi { slopes } => -f64::from(slopes[head]) * distance.abs() as f64,
            Bias::Relative { reach } => {
                let reach = i64::from(*reach);
                let at = (distance.clamp(-reach, reach) + reach) as usize;
                f64::from(tables.by_distance[head * (2 * reach as usize + 1) + at])
            }
            Bias::None | Bias::Disentangled { .. } => 0.0,
        }
    }

    /// What the tables add to `q . k`.
    fn terms(&self, tables: &Tables, head: usize, distance: i64, q: &[f64], k: &[f64]) -> f64 {
        let Bias::Disentangled { reach, .. } = self.bias else { return 0.0 };
        let reach = i64::from(reach);
        let row = tables.index[(distance.clamp(-reach, reach) + reach) as usize] as usize;
        let first = row.min(ROWS - 1) * self.heads * self.size + head * self.size;
        let product = |table: &[f32], x: &[f64]| match table {
            [] => 0.0,
            table => table[first..].iter().zip(x).map(|(a, b)| f64::from(*a) * b).sum(),
        };
        product(&tables.keys, q) + product(&tables.queries, k)
    }

    fn reference(&self, tables: &Tables, x: &[f64], scale: f64) -> Vec<f64> {
        let (width, shared) = (self.heads * self.size, self.shared());
        let whole = width + 2 * shared;
        let rows = x.len() / whole;
        let part = |row: usize, part: usize, head: usize| {
            let start = match part {
                0 => head * self.size,
                part => width + (part - 1) * shared + head / self.group * self.size,
            };
            &x[row * whole + start..][..self.size]
        };
        let mut out = vec![0.0; rows * width];
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            for (head, out) in out.chunks_exact_mut(self.size).enumerate() {
                let seen = |j: &usize| {
                    let ahead = *j as i128 - i as i128;
                    self.mask.before.is_none_or(|n| -ahead <= i128::from(n))
                        && self.mask.after.is_none_or(|n| ahead <= i128::from(n))
                };
                let keys: Vec<_> = (0..rows).filter(seen).collect();
                let q = self.turned(tables, part(i, 0, head), i);
                let score = |&j: &usize| {
                    let k = self.turned(tables, part(j, 1, head), j);
                    let distance = i as i64 - j as i64;
                    let dot: f64 = q.iter().zip(&k).map(|(a, b)| a * b).sum();
                    scale * (dot + self.terms(tables, head, distance, &q, &k))
                        + self.bias(tables, head, distance)
                };
                let mut scores: Vec<_> = keys.iter().map(score).collect();
                softmax(&mut scores);
                for (p, &j) in scores.iter().zip(&keys) {
                    for (out, v) in out.iter_mut().zip(part(j, 2, head)) {
                        *out += p * v;
                    }
                }
            }
        }
        out
    }

    /// The columns of keys, or of values.
    fn shared(&self) -> usize {
        self.heads / self.group * self.size
    }

    fn check(&self, what: &str) {
        let Case { heads, size, group, mask, ref bias, rotary } = *self;
        let mut noise = Noise(31);
        let tables = self.tables(&mut noise);
        let (width, scale) = ((heads * size) as u64, 1.5 / (size as f32).sqrt());
        let mut build = Build::new(false);
        let shared = self.shared() as u64;
        let whole = width + 2 * shared;
        let x = build.input("x", L, whole);
        let qkv = build.copy(x, whole);
        let parts = [(0, width), (width, shared), (width + shared, shared)];
        let mut operands = parts.map(|(start, width)| columns(qkv, start, width)).to_vec();
        match bias {
            Bias::None | Bias::Alibi { .. } => {}
            Bias::Relative { reach } => {
                let shape = [heads as u64, 2 * u64::from(*reach) + 1];
                operands.push(build.weight(&shape, &tables.by_distance));
            }
            Bias::Disentangled { .. } => {
                operands.push(build.integers(&tables.index));
                for table in [&tables.keys, &tables.queries] {
                    if !table.is_empty() {
                        operands.push(build.weight(&[ROWS as u64, width], table));
                    }
                }
            }
        }
        if let Some(rotary) = rotary {
            operands.push(build.weight(&[4096, rotary.dims.into()], &tables.turns));
        }
        let bias = bias.clone();
        let (heads, head_size, group) = (heads as u32, size as u32, group as u32);
        let kernel = Kernel::Attention { heads, head_size, group, scale, mask, bias, rotary };
        let out = build.step(kernel, operands, L, width);
        build.output("out", out);
        let samples = rows_of(whole, &mut noise);
        let reference =
            |sample: &Owned| self.reference(&tables, &f64s(&sample.floats[0].2), scale.into());
        let references: Vec<_> = samples.iter().map(reference).collect();
        report(what, check_on(&Isa::available(), &build, &samples, &references), 3e-6);
        if matches!(self.bias, Bias::Disentangled { .. }) {
            return;
        }
        build.multiply_in_bf16();
        // Processors without the instruction for it multiply in f32.
        for isa in ways().into_iter().filter(|isa| isa.has_bf16()) {
            let error = check_on(&[isa], &build, &samples, &references);
            report(&format!("{what}, in bf16 on {isa:?}"), error, 2e-2);
            assert!(error > 1e-4, "{what}: products in bf16 lose something");
        }
    }
}

fn plain(heads: usize, size: usize) -> Case {
    Case { heads, size, group: 1, mask: Band::default(), bias: Bias::None, rotary: None }
}

fn band(before: Option<u64>, after: Option<u64>) -> Band {
    Band { before, after }
}

#[test]
fn no_mask() {
    for size in [1, 31, 32, 64] {
        plain(2, size).check(&format!("heads of {size}"));
    }
}

#[test]
fn masks() {
    let masks = [
        (None, Some(0)),
        (Some(0), Some(0)),
        (Some(1), Some(1)),
        (Some(40), Some(3)),
        (Some(0), None),
        (Some(5), Some(64)),
        (Some(1000), Some(u64::MAX)),
    ];
    for (i, (before, after)) in masks.into_iter().enumerate() {
        let case = Case { mask: band(before, after), ..plain(1 + i % 2, [12, 32, 40][i % 3]) };
        case.check(&format!("mask {before:?} {after:?}"));
    }
}

#[test]
fn biases_by_distance() {
    let alibi =
        |heads: usize| Bias::Alibi { slopes: (1..=heads).map(|h| 0.3 / h as f32).collect() };
    Case { bias: alibi(3), ..plain(3, 8) }.check("alibi");
    Case { bias: alibi(1), mask: band(Some(33), Some(31)), ..plain(1, 33) }
        .check("alibi in a band");
    for reach in [0, 1, 20, 70, 200] {
        let case = Case { bias: Bias::Relative { reach }, ..plain(2, 24) };
        case.check(&format!("relative, {reach} away"));
    }
    let case = Case { bias: Bias::Relative { reach: 9 }, mask: band(None, Some(0)), ..plain(2, 5) };
    case.check("relative and causal");
}

#[test]
fn disentangled() {
    for (c2p, p2c) in [(true, true), (true, false), (false, true)] {
        for (size, reach) in [(8, 16), (40, 3), (63, 90)] {
            let case = Case { bias: Bias::Disentangled { reach, c2p, p2c }, ..plain(2, size) };
            case.check(&format!("disentangled {c2p} {p2c}, {size} columns, {reach} away"));
        }
    }
    let bias = Bias::Disentangled { reach: 16, c2p: true, p2c: true };
    Case { bias, mask: band(Some(40), Some(2)), ..plain(1, 16) }.check("disentangled in a band");
}

#[test]
fn rotations() {
    for (pairs, dims, size) in
        [(Pairs::Half, 12, 12), (Pairs::Interleaved, 32, 32), (Pairs::Half, 6, 9)]
    {
        let rotary = Some(Rotary { pairs, dims });
        Case { rotary, ..plain(2, size) }.check(&format!("{pairs:?} of {dims} of {size}"));
    }
    let rotary = Some(Rotary { pairs: Pairs::Interleaved, dims: 8 });
    let mask = band(Some(2), Some(40));
    Case { rotary, mask, ..plain(2, 64) }.check("turned in a band");
}

#[test]
fn shared_heads() {
    Case { group: 2, ..plain(4, 12) }.check("two heads of keys for four");
    Case { group: 3, mask: band(None, Some(0)), ..plain(3, 33) }.check("one head of keys, causal");
    let rotary = Some(Rotary { pairs: Pairs::Half, dims: 8 });
    Case { group: 2, rotary, ..plain(6, 8) }.check("shared heads, turned");
    let bias = Bias::Disentangled { reach: 16, c2p: true, p2c: true };
    Case { group: 2, bias, ..plain(2, 16) }.check("shared heads, disentangled");
}

/// Turning by itself gives what attention turns.
#[test]
fn rotary() {
    let rotary = Rotary { pairs: Pairs::Half, dims: 6 };
    let case = Case { rotary: Some(rotary), ..plain(2, 7) };
    let mut noise = Noise(32);
    let tables = case.tables(&mut noise);
    let mut build = Build::new(false);
    let operands = vec![build.input("x", L, 14), build.weight(&[4096, 6], &tables.turns)];
    let out = build.step(Kernel::Rotary { heads: 2, head_size: 7, rotary }, operands, L, 14);
    build.output("out", out);
    let error = check(&build, &rows_of(14, &mut noise), |sample| {
        let x = f64s(&sample.floats[0].2);
        let heads = x.chunks(7).enumerate();
        heads.flat_map(|(i, head)| case.turned(&tables, head, i / 2)).collect()
    });
    report("rotary", error, 1e-6);
}

#[test]
fn rms_norm() {
    for width in [1u64, 12, 33, 384] {
        let mut noise = Noise(33);
        let gamma = noise.floats(width as usize);
        let mut build = Build::new(false);
        let operands = vec![build.input("x", L, width), build.weight(&[width], &gamma)];
        let kernel = Kernel::RmsNorm { width: width as u32, eps: 1e-6 };
        let out = build.step(kernel, operands, L, width);
        build.output("out", out);
        let error = check(&build, &rows_of(width, &mut noise), |sample| {
            let x = f64s(&sample.floats[0].2);
            let of_row = |row: &[f64]| {
                let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
                let scale = (mean + 1e-6).sqrt().recip();
                row.iter().zip(&gamma).map(|(x, g)| x * scale * f64::from(*g)).collect::<Vec<_>>()
            };
            x.chunks(width as usize).flat_map(of_row).collect()
        });
        report(&format!("rms_norm {width}"), error, 1e-6);
    }
}

#[test]
fn unfold() {
    for (size, before) in [(1u32, 0u32), (3, 1), (4, 3), (200, 100)] {
        let mut build = Build::new(false);
        let operands = vec![build.input("x", L, 5)];
        let wide = 5 * u64::from(size);
        let out = build.step(Kernel::Unfold { width: 5, size, before }, operands, L, wide);
        build.output("out", out);
        let error = check(&build, &rows_of(5, &mut Noise(34)), |sample| {
            let x = f64s(&sample.floats[0].2);
            let rows = x.len() as i64 / 5;
            let taps =
                |row: i64| (0..i64::from(size)).map(move |tap| row + tap - i64::from(before));
            let row = |row: i64| match row {
                row if (0..rows).contains(&row) => x[row as usize * 5..][..5].to_vec(),
                _ => vec![0.0; 5],
            };
            (0..rows).flat_map(taps).flat_map(row).collect()
        });
        report(&format!("unfold {size}"), error, 1e-7);
    }
}
