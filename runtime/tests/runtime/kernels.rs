//! Each kernel against its formula in f64, on ragged batches, every way to run them.

use bytec_plan::extent::Rows;
use bytec_plan::kernel::{BinaryFn, Broadcast, IdSource, Instr, Kernel, Part, PoolKind, UnaryFn};
use bytec_plan::program::Operand;
use bytec_runtime::{Isa, SessionOptions};

use crate::programs::{Build, K, L, LENGTHS, Noise, Owned, bits, check, columns, run};

/// Samples of [`LENGTHS`] rows of one float input `x`.
pub(crate) fn rows_of(width: u64, noise: &mut Noise) -> Vec<Owned> {
    LENGTHS
        .map(|l| {
            let data = noise.floats((l * width) as usize);
            Owned { floats: vec![("x", vec![l, width], data)], ids: vec![] }
        })
        .to_vec()
}

pub(crate) fn f64s(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

pub(crate) fn norm(row: &mut [f64], gamma: &[f32], beta: &[f32], eps: f64) {
    let n = row.len() as f64;
    let mean = row.iter().sum::<f64>() / n;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
        *x = (*x - mean) / (variance + eps).sqrt() * f64::from(*gamma) + f64::from(*beta);
    }
}

pub(crate) fn softmax(row: &mut [f64]) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}

fn l2(row: &mut [f64], eps: f64) {
    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(eps);
    row.iter_mut().for_each(|x| *x /= norm);
}

#[expect(clippy::print_stdout, reason = "the observed error is of interest when a test passes too")]
pub(crate) fn report(what: &str, error: f64, limit: f64) {
    println!("{what}: {error:.2e}");
    assert!(error < limit, "{what}: {error:e}");
}

#[test]
fn embed() {
    for (width, eps) in [(20usize, None), (384, Some(1e-12f32))] {
        let mut noise = Noise(10);
        let words = noise.floats(50 * width);
        let positions = noise.floats(140 * width);
        let types = noise.floats(2 * width);
        let (gamma, beta) = (noise.floats(width), noise.floats(width));
        let mut build = Build::new(false);
        let ids = build.ids("ids", 50, None);
        let kinds = build.ids("types", 2, Some(1));
        // Samples are at most as long as the table of positions less its start.
        build.program.symbols[0].max = 138;
        let w = width as u64;
        let mut operands = vec![
            build.weight(&[50, w], &words),
            ids,
            build.weight(&[140, w], &positions),
            build.weight(&[2, w], &types),
            kinds,
        ];
        if eps.is_some() {
            operands.push(build.weight(&[w], &gamma));
            operands.push(build.weight(&[w], &beta));
        }
        let sources = vec![IdSource::Input, IdSource::Position { start: 2 }, IdSource::Input];
        let kernel = Kernel::Embed { sources, width: width as u32, eps };
        let out = build.step(kernel, operands, L, w);
        build.output("out", out);
        let samples = LENGTHS.map(|l| {
            let ids = (0..l).map(|_| noise.below(50)).collect();
            let mut sample = Owned { floats: vec![], ids: vec![("ids", vec![l], ids)] };
            // Every other sample leaves the types to their default, 1.
            if l % 2 == 0 {
                let types = (0..l).map(|_| noise.below(2)).collect();
                sample.ids.push(("types", vec![l], types));
            }
            sample
        });
        let error = check(&build, &samples, |sample| {
            let ids = &sample.ids[0].2;
            let mut out = Vec::new();
            for (at, id) in ids.iter().enumerate() {
                let kind = sample.ids.get(1).map_or(1, |types| types.2[at]) as usize;
                let row = |table: &[f32], i: usize| f64s(&table[i * width..][..width]);
                let (a, b, c) =
                    (row(&words, *id as usize), row(&positions, at + 2), row(&types, kind));
                let mut row: Vec<f64> = (0..width).map(|i| a[i] + b[i] + c[i]).collect();
                if let Some(eps) = eps {
                    norm(&mut row, &gamma, &beta, eps.into());
                }
                out.extend(row);
            }
            out
        });
        report("embed", error, 1e-6);
    }
}

/// Places go on from block to block of rows, and begin anew with each sample.
#[test]
fn embed_by_places_of_ids() {
    let (width, skip) = (384usize, 3usize);
    let mut noise = Noise(17);
    let (words, positions) = (noise.floats(6 * width), noise.floats(140 * width));
    let mut build = Build::new(false);
    build.program.symbols[0].max = 136;
    let ids = build.ids("ids", 6, None);
    let w = width as u64;
    let tables = [build.weight(&[6, w], &words), build.weight(&[140, w], &positions)];
    let sources = vec![IdSource::Input, IdSource::Place { skip: skip as u32 }];
    let kernel = Kernel::Embed { sources, width: width as u32, eps: None };
    let out = build.step(kernel, vec![tables[0], ids, tables[1], ids], L, w);
    build.output("out", out);
    let samples = LENGTHS.map(|l| {
        let ids = (0..l).map(|_| noise.below(6)).collect();
        Owned { floats: vec![], ids: vec![("ids", vec![l], ids)] }
    });
    let error = check(&build, &samples, |sample| {
        let mut others = 0;
        let place = |id: i64| {
            others += usize::from(id != skip as i64);
            if id == skip as i64 { skip } else { skip + others }
        };
        let ids = &sample.ids[0].2;
        let rows = ids.iter().copied().zip(ids.iter().copied().map(place).collect::<Vec<_>>());
        rows.flat_map(|(id, place)| {
            let row = |table: &[f32], i: usize| f64s(&table[i * width..][..width]);
            let (a, b) = (row(&words, id as usize), row(&positions, place));
            a.into_iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>()
        })
        .collect()
    });
    report("embed by places", error, 1e-6);
}

#[test]
fn linear() {
    for (n, k, bias, epilogue) in [
        (1usize, 3usize, false, vec![]),
        (100, 64, true, vec![UnaryFn::GeluErf]),
        (64, 33, true, vec![UnaryFn::Relu, UnaryFn::Tanh]),
    ] {
        let mut noise = Noise(11);
        let (weight, b) = (noise.floats(n * k), noise.floats(n));
        let mut build = Build::new(false);
        let x = build.input("x", L, k as u64);
        let mut operands = vec![x, build.panels(n, k, &weight)];
        if bias {
            operands.push(build.weight(&[n as u64], &b));
        }
        let kernel = Kernel::Linear { n: n as u32, k: k as u32, bias, epilogue: epilogue.clone() };
        let out = build.step(kernel, operands, L, n as u64);
        build.output("out", out);
        let samples = rows_of(k as u64, &mut noise);
        let error = check(&build, &samples, |sample| {
            let x = f64s(&sample.floats[0].2);
            let mut out = Vec::new();
            for row in x.chunks(k) {
                for (weight, b) in weight.chunks(k).zip(&b) {
                    let mut y: f64 = row.iter().zip(weight).map(|(x, w)| x * f64::from(*w)).sum();
                    if bias {
                        y += f64::from(*b);
                    }
                    for function in &epilogue {
                        y = match function {
                            UnaryFn::Relu => y.max(0.0),
                            UnaryFn::Tanh => y.tanh(),
                            UnaryFn::GeluErf => y / 2.0 * (1.0 + erf(y / 2.0f64.sqrt())),
                            other => panic!("{other:?} is not in this test"),
                        };
                    }
                    out.push(y);
                }
            }
            out
        });
        report("linear", error, 2e-6);
    }
}

/// By Simpson's rule, which is good to 1e-10 over the few units that the test spans.
fn erf(x: f64) -> f64 {
    let f = |t: f64| (-t * t).exp();
    let steps = 200;
    let h = x / f64::from(steps);
    let weight = |i: i32| if i % 2 == 0 { 2.0 } else { 4.0 };
    let inner: f64 = (1..steps).map(|i| weight(i) * f(h * f64::from(i))).sum();
    if x.abs() > 6.0 {
        return x.signum();
    }
    std::f64::consts::FRAC_2_SQRT_PI * h / 3.0 * (f(0.0) + inner + f(x))
}

/// `softmax(scale * q k^T) v`, row-major with all heads side by side.
fn attend(q: &[f64], k: &[f64], v: &[f64], heads: usize, size: usize, scale: f64) -> Vec<f64> {
    let width = heads * size;
    let mut out = vec![0.0; q.len()];
    for (i, q) in q.chunks(width).enumerate() {
        for h in 0..heads {
            let head = h * size..(h + 1) * size;
            let mut scores: Vec<f64> = k
                .chunks(width)
                .map(|k| {
                    scale
                        * q[head.clone()]
                            .iter()
                            .zip(&k[head.clone()])
                            .map(|(a, b)| a * b)
                            .sum::<f64>()
                })
                .collect();
            softmax(&mut scores);
            for (p, v) in scores.iter().zip(v.chunks(width)) {
                for c in head.clone() {
                    out[i * width + c] += p * v[c];
                }
            }
        }
    }
    out
}

#[test]
fn attention_over_columns_of_one_buffer() {
    for (heads, size) in [(2usize, 1usize), (3, 12), (2, 32), (1, 64), (1, 80), (1, 256)] {
        let width = (heads * size) as u64;
        let scale = 3.0 / (size as f32).sqrt();
        let mut build = Build::new(false);
        let x = build.input("x", L, 3 * width);
        let copy = Kernel::Pointwise {
            width: 3 * width as u32,
            operands: vec![Broadcast::Full],
            body: vec![Instr::Operand(0)],
        };
        let qkv = build.step(copy, vec![x], L, 3 * width);
        let parts = (0..3).map(|i| columns(qkv, i * width, width)).collect();
        let kernel = Kernel::attention(heads as u32, size as u32, scale);
        let out = build.step(kernel, parts, L, width);
        build.output("out", out);
        let samples = rows_of(3 * width, &mut Noise(12));
        let error = check(&build, &samples, |sample| {
            let x = f64s(&sample.floats[0].2);
            let part = |i: usize| -> Vec<f64> {
                let w = width as usize;
                x.chunks(3 * w).flat_map(|row| row[i * w..(i + 1) * w].to_vec()).collect()
            };
            attend(&part(0), &part(1), &part(2), heads, size, scale.into())
        });
        report(&format!("attention {heads} x {size}"), error, 2e-6);
    }
}

#[test]
fn attention_of_one_set_of_rows_over_another() {
    let (heads, size, scale) = (2usize, 24usize, 0.5f32);
    let width = (heads * size) as u64;
    let mut build = Build::new(true);
    let operands =
        vec![build.input("q", L, width), build.input("k", K, width), build.input("v", K, width)];
    let kernel = Kernel::attention(heads as u32, size as u32, scale);
    let out = build.step(kernel, operands, L, width);
    build.output("out", out);
    let mut noise = Noise(13);
    let samples: Vec<_> = LENGTHS
        .iter()
        .zip(LENGTHS.iter().rev())
        .map(|(l, k)| Owned {
            floats: vec![
                ("q", vec![*l, width], noise.floats((l * width) as usize)),
                ("k", vec![*k, width], noise.floats((k * width) as usize)),
                ("v", vec![*k, width], noise.floats((k * width) as usize)),
            ],
            ids: vec![],
        })
        .collect();
    let error = check(&build, &samples, |sample| {
        let [q, k, v] = [0, 1, 2].map(|i| f64s(&sample.floats[i].2));
        attend(&q, &k, &v, heads, size, scale.into())
    });
    report("cross attention", error, 1e-6);
}

#[test]
fn attention_with_one_query_a_sample() {
    let mut build = Build::new(false);
    let operands =
        vec![build.input("q", Rows::PerSample, 8), build.input("k", L, 8), build.input("v", L, 8)];
    let kernel = Kernel::attention(1, 8, 1.0);
    let out = build.step(kernel, operands, Rows::PerSample, 8);
    build.output("out", out);
    let mut noise = Noise(14);
    let samples = LENGTHS.map(|l| Owned {
        floats: vec![
            ("q", vec![8], noise.floats(8)),
            ("k", vec![l, 8], noise.floats(l as usize * 8)),
            ("v", vec![l, 8], noise.floats(l as usize * 8)),
        ],
        ids: vec![],
    });
    let error = check(&build, &samples, |sample| {
        let [q, k, v] = [0, 1, 2].map(|i| f64s(&sample.floats[i].2));
        attend(&q, &k, &v, 1, 8, 1.0)
    });
    report("pooling attention", error, 1e-6);
}

#[test]
fn layer_norm() {
    for (width, residual) in [(1u64, false), (12, true), (33, false), (384, true), (1000, true)] {
        let mut noise = Noise(15);
        let (gamma, beta) = (noise.floats(width as usize), noise.floats(width as usize));
        let mut build = Build::new(false);
        let x = build.input("x", L, width);
        let mut operands = vec![x];
        if residual {
            operands.push(build.input("y", L, width));
        }
        operands.push(build.weight(&[width], &gamma));
        operands.push(build.weight(&[width], &beta));
        let kernel = Kernel::LayerNorm { width: width as u32, eps: 1e-5, residual };
        let out = build.step(kernel, operands, L, width);
        build.output("out", out);
        let mut samples = rows_of(width, &mut noise);
        if residual {
            for sample in &mut samples {
                let (_, shape, data) = sample.floats[0].clone();
                let y = noise.floats(data.len());
                sample.floats.push(("y", shape, y));
            }
        }
        let error = check(&build, &samples, |sample| {
            let mut x = f64s(&sample.floats[0].2);
            if residual {
                x.iter_mut().zip(&sample.floats[1].2).for_each(|(x, y)| *x += f64::from(*y));
            }
            x.chunks_mut(width as usize).for_each(|row| norm(row, &gamma, &beta, 1e-5f32.into()));
            x
        });
        report(&format!("layer norm {width}"), error, 1e-6);
    }
}

#[test]
fn softmax_and_l2_normalize() {
    for width in [1u64, 5, 32, 100] {
        for (name, kernel) in [
            ("softmax", Kernel::Softmax { width: width as u32 }),
            ("l2", Kernel::L2Normalize { width: width as u32, eps: 1e-12 }),
        ] {
            let mut build = Build::new(false);
            let x = build.input("x", L, width);
            let out = build.step(kernel, vec![x], L, width);
            build.output("out", out);
            let samples = rows_of(width, &mut Noise(16));
            let error = check(&build, &samples, |sample| {
                let mut x = f64s(&sample.floats[0].2);
                for row in x.chunks_mut(width as usize) {
                    if name == "l2" { l2(row, 1e-12) } else { softmax(row) }
                }
                x
            });
            report(&format!("{name} {width}"), error, 1e-6);
        }
    }
}

#[test]
fn pool() {
    let width = 70u64;
    let kinds = [
        PoolKind::Mean,
        PoolKind::Sum,
        PoolKind::Cls,
        PoolKind::Max,
        PoolKind::MeanSqrtLen,
        PoolKind::WeightedMean,
        PoolKind::Last,
    ];
    for kind in kinds {
        for normalize in [None, Some(1e-12)] {
            let mut build = Build::new(false);
            let x = build.input("x", L, width);
            let kernel = Kernel::Pool { pooling: kind, width: width as u32, normalize };
            let out = build.step(kernel, vec![x], Rows::PerSample, width);
            build.output("out", out);
            let samples = rows_of(width, &mut Noise(17));
            let error = check(&build, &samples, |sample| {
                let x = f64s(&sample.floats[0].2);
                let rows: Vec<&[f64]> = x.chunks(width as usize).collect();
                let mut out: Vec<f64> = (0..width as usize)
                    .map(|c| {
                        let column = rows.iter().map(|row| row[c]);
                        match kind {
                            PoolKind::Mean => column.sum::<f64>() / rows.len() as f64,
                            PoolKind::Sum => column.sum(),
                            PoolKind::Cls => rows[0][c],
                            PoolKind::Max => column.fold(f64::NEG_INFINITY, f64::max),
                            PoolKind::MeanSqrtLen => {
                                column.sum::<f64>() / (rows.len() as f64).sqrt()
                            }
                            PoolKind::WeightedMean => {
                                let weights = 1..=rows.len();
                                let sum: f64 =
                                    column.zip(weights.clone()).map(|(x, w)| w as f64 * x).sum();
                                sum / weights.sum::<usize>() as f64
                            }
                            PoolKind::Last => rows[rows.len() - 1][c],
                        }
                    })
                    .collect();
                if let Some(eps) = normalize {
                    l2(&mut out, eps.into());
                }
                out
            });
            report(&format!("pool {kind:?}"), error, 1e-6);
        }
    }
}

#[test]
fn pointwise() {
    let width = 300u64;
    let mut noise = Noise(18);
    let (row, scalar) = (noise.floats(width as usize), noise.floats(1));
    let mut build = Build::new(false);
    let operands: Vec<Operand> = vec![
        build.input("x", L, width),
        build.weight(&[width], &row),
        build.weight(&[], &scalar),
        build.input("s", Rows::PerSample, width),
    ];
    use Broadcast::{Full, Row, Sample, Scalar};
    let kernel = Kernel::Pointwise {
        width: width as u32,
        operands: vec![Full, Row, Scalar, Sample],
        // max(tanh(x * row + scalar) - s, -0.5)
        body: vec![
            Instr::Operand(0),
            Instr::Operand(1),
            Instr::Binary(BinaryFn::Mul, 0, 1),
            Instr::Operand(2),
            Instr::Binary(BinaryFn::Add, 2, 3),
            Instr::Unary(UnaryFn::Tanh, 4),
            Instr::Operand(3),
            Instr::Binary(BinaryFn::Sub, 5, 6),
            Instr::Const((-0.5f32).to_bits()),
            Instr::Binary(BinaryFn::Max, 7, 8),
        ],
    };
    let out = build.step(kernel, operands, L, width);
    build.output("out", out);
    let mut samples = rows_of(width, &mut noise);
    for sample in &mut samples {
        sample.floats.push(("s", vec![width], noise.floats(width as usize)));
    }
    let error = check(&build, &samples, |sample| {
        let x = f64s(&sample.floats[0].2);
        let s = f64s(&sample.floats[1].2);
        let value = |(i, x): (usize, &f64)| {
            let column = i % width as usize;
            let inner = x * f64::from(row[column]) + f64::from(scalar[0]);
            (inner.tanh() - s[column]).max(-0.5)
        };
        x.iter().enumerate().map(value).collect()
    });
    report("pointwise", error, 1e-6);
}

#[test]
fn nan_stays_where_the_formulas_keep_it() {
    let mut build = Build::new(false);
    let x = build.input("x", L, 2);
    let pool = Kernel::Pool { pooling: PoolKind::Max, width: 2, normalize: None };
    let out = build.step(pool, vec![x], Rows::PerSample, 2);
    build.output("out", out);
    let engine = build.engine(1, Isa::best());
    let sample = Owned {
        floats: vec![("x", vec![3, 2], vec![1.0, f32::NAN, 2.0, 5.0, f32::INFINITY, 6.0])],
        ids: vec![],
    };
    let out = run(&mut engine.session(), &engine, &[&sample]);
    assert_eq!(out[0][0], f32::INFINITY);
    assert!(out[0][1].is_nan());
}

#[test]
fn samples_of_no_rows_leave_the_others_alone() {
    let mut build = Build::new(true);
    build.program.symbols.iter_mut().for_each(|symbol| symbol.min = 0);
    let operands = vec![build.input("q", L, 8), build.input("k", K, 8), build.input("v", K, 8)];
    let kernel = Kernel::attention(1, 8, 1.0);
    let attended = build.step(kernel, operands, L, 8);
    let copy = Kernel::Pointwise {
        width: 8,
        operands: vec![Broadcast::Full],
        body: vec![Instr::Operand(0)],
    };
    let copied = build.step(copy, vec![attended], L, 8);
    let pool = Kernel::Pool { pooling: PoolKind::Sum, width: 8, normalize: None };
    let out = build.step(pool, vec![copied], Rows::PerSample, 8);
    build.output("out", out);
    let mut noise = Noise(19);
    let mut sample = |l: u64, k: u64| Owned {
        floats: vec![
            ("q", vec![l, 8], noise.floats(l as usize * 8)),
            ("k", vec![k, 8], noise.floats(k as usize * 8)),
            ("v", vec![k, 8], noise.floats(k as usize * 8)),
        ],
        ids: vec![],
    };
    let samples = [(0, 0), (5, 3), (0, 4), (40, 7), (3, 0), (0, 0)].map(|(l, k)| sample(l, k));
    for threads in [1, 3] {
        let engine = build.engine(threads, Isa::best());
        let mut session =
            engine.session_with(SessionOptions { poison: true, ..SessionOptions::default() });
        let batch = run(&mut session, &engine, &samples.each_ref());
        for (i, (sample, got)) in samples.iter().zip(&batch).enumerate() {
            assert_eq!(bits(got), bits(&run(&mut session, &engine, &[sample])[0]));
            match i {
                1 | 3 => assert!(got.iter().all(|x| x.is_finite() && *x != 0.0)),
                // Attention over nothing is 0 / 0.
                4 => assert!(got.iter().all(|x| x.is_nan())),
                _ => assert_eq!(got, &[0.0; 8]),
            }
        }
    }
}

/// Columns of a buffer, of an input and of a weight take turns.
#[test]
fn concat() {
    for (groups, columns) in [(1usize, [5usize, 7, 3]), (4, [5, 1, 2])] {
        let mut noise = Noise(31);
        let [a, b, c] = columns.map(|columns| groups * columns);
        let weight = noise.floats(c);
        let mut build = Build::new(false);
        let x = build.input("x", L, b as u64);
        let wide = build.input("wide", L, 2 * a as u64);
        let wide = build.copy(wide, 2 * a as u64);
        let operands = vec![
            columns_of(wide, a as u64),
            x,
            build.weight(&[groups as u64, columns[2] as u64], &weight),
        ];
        let parts = columns.iter().zip([false, false, true]);
        let parts = parts.map(|(c, weight)| Part { columns: *c as u32, weight }).collect();
        let kernel = Kernel::Concat { groups: groups as u32, parts };
        let out = build.step(kernel, operands, L, (a + b + c) as u64);
        build.output("out", out);
        let samples = LENGTHS.map(|l| {
            let mut rows =
                |name, width| (name, vec![l, width as u64], noise.floats(l as usize * width));
            Owned { floats: vec![rows("x", b), rows("wide", 2 * a)], ids: vec![] }
        });
        let error = check(&build, &samples, |sample| {
            let [(_, _, x), (_, _, wide)] = &sample.floats[..] else { panic!("two inputs") };
            let mut out = Vec::new();
            for (x, wide) in x.chunks(b).zip(wide.chunks(2 * a)) {
                for group in 0..groups {
                    for (row, columns) in [&wide[a..], x, &weight].into_iter().zip(columns) {
                        out.extend(f64s(&row[group * columns..][..columns]));
                    }
                }
            }
            out
        });
        report("concat", error, f64::MIN_POSITIVE);
    }
}

/// The second half of a buffer's columns.
fn columns_of(value: Operand, width: u64) -> Operand {
    columns(value, width, width)
}
