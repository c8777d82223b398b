//! A linear and the LayerNorm behind it as one kernel, against its formula in f64.

use bytec_plan::kernel::Kernel;

use crate::kernels::{f64s, norm, report, rows_of};
use crate::programs::{Build, L, Noise, check};

#[test]
fn linear_layer_norm() {
    for (n, k, bias) in [(12usize, 33usize, true), (100, 64, false)] {
        let mut noise = Noise(17);
        let weight = noise.floats(n * k);
        let [mut b, gamma, beta] = [0; 3].map(|_| noise.floats(n));
        let mut build = Build::new(false);
        let x = build.input("x", L, k as u64);
        let residual = build.input("y", L, n as u64);
        let mut operands = vec![x, build.panels(n, k, &weight)];
        if bias {
            operands.push(build.weight(&[n as u64], &b));
        } else {
            b.fill(0.0);
        }
        operands.push(residual);
        operands.extend([&gamma, &beta].map(|numbers| build.weight(&[n as u64], numbers)));
        let kernel =
            Kernel::LinearLayerNorm { n: n as u32, k: k as u32, bias, eps: 1e-5, up: None };
        let out = build.step(kernel, operands, L, n as u64);
        build.output("out", out);
        let mut samples = rows_of(k as u64, &mut noise);
        for sample in &mut samples {
            let rows = sample.floats[0].2.len() / k;
            sample.floats.push(("y", vec![rows as u64, n as u64], noise.floats(rows * n)));
        }
        let error = check(&build, &samples, |sample| {
            let [x, y] = [0, 1].map(|input| f64s(&sample.floats[input].2));
            let rows = x.chunks(k).zip(y.chunks(n));
            let row = |(x, y): (&[f64], &[f64])| {
                let products = weight.chunks(k).map(|weight| {
                    x.iter().zip(weight).map(|(x, w)| x * f64::from(*w)).sum::<f64>()
                });
                let sums = products.zip(&b).zip(y).map(|((xw, b), y)| xw + f64::from(*b) + y);
                let mut sums: Vec<f64> = sums.collect();
                norm(&mut sums, &gamma, &beta, 1e-5f32.into());
                sums
            };
            rows.flat_map(row).collect()
        });
        report("linear and layer norm", error, 2e-6);
    }
}
