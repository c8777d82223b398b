//! Whole kernels from NVRTC 12.9, 13.0 and 13.5, against references in f64.

use crate::support::{download_f32, download_u32, fixture, noise, upload_f16, upload_f32};
use bytec_sim::{Arg, Checks, Class, Device, Profile};

#[test]
fn vectors_add() {
    let module = fixture("vector_add");
    let count = 1000;
    let (a, b) = (noise(count, 1), noise(count, 2));
    let mut device = Device::sm_80();
    let buffers = [upload_f32(&mut device, "a", &a), upload_f32(&mut device, "b", &b)];
    let c = device.alloc("c", count as u64 * 4).expect("the test sets it up right");
    let args = [
        Arg::Pointer(buffers[0], 0),
        Arg::Pointer(buffers[1], 0),
        Arg::Pointer(c, 0),
        Arg::I32(count as i32),
    ];
    let kernel = module.kernel("vector_add").expect("the test sets it up right");
    let profile =
        device.launch(kernel, [8, 1, 1], [128, 1, 1], 0, &args).expect("the test sets it up right");
    let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    assert_eq!(download_f32(&device, c, count), expected);
    assert_eq!(profile.global_reads.bytes, 2 * 4 * count as u64);
    assert_eq!(profile.global_reads.sectors, 2 * 4 * count as u64 / 32);
    assert_eq!(profile.global_writes.bytes, 4 * count as u64);
    let [of_a, of_c] = [buffers[0], c].map(|buffer| profile.buffers[&buffer]);
    let bytes = |traffic: bytec_sim::BufferTraffic| [traffic.reads.bytes, traffic.writes.bytes];
    assert_eq!([bytes(of_a), bytes(of_c)], [[4 * count as u64, 0], [0, 4 * count as u64]]);
    assert_eq!(profile.instructions[&Class::StoreGlobal], 32, "the guarded block of 32 warps");
}

fn row_norm(width: usize, rows: usize) -> (Vec<f32>, Vec<f64>, Profile) {
    let module = fixture("row_norm");
    let x = noise(width * rows, 3);
    let (weight, bias) = (noise(width, 4), noise(width, 5));
    let mut device = Device::sm_80();
    let args = [
        Arg::Pointer(upload_f32(&mut device, "x", &x), 0),
        Arg::Pointer(upload_f32(&mut device, "weight", &weight), 0),
        Arg::Pointer(upload_f32(&mut device, "bias", &bias), 0),
    ];
    let y = device.alloc("y", (width * rows * 4) as u64).expect("the test sets it up right");
    let rest = [Arg::Pointer(y, 0), Arg::I32(width as i32), Arg::F32(1e-5)];
    let args: Vec<Arg> = args.into_iter().chain(rest).collect();
    let kernel = module.kernel("row_norm").expect("the test sets it up right");
    let grid = [rows as u32, 1, 1];
    let profile = device
        .launch(kernel, grid, [128, 1, 1], width as u32 * 4, &args)
        .expect("the test sets it up right");
    let mut expected = Vec::new();
    for row in x.chunks(width) {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
        let square = |x: &f32| (f64::from(*x) - mean).powi(2);
        let variance = row.iter().map(square).sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + 1e-5).sqrt();
        for (at, x) in row.iter().enumerate() {
            expected
                .push((f64::from(*x) - mean) * scale * f64::from(weight[at]) + f64::from(bias[at]));
        }
    }
    (download_f32(&device, y, width * rows), expected, profile)
}

#[test]
fn rows_are_normalised() {
    for width in [1, 31, 128, 300, 768] {
        let (found, expected, profile) = row_norm(width, 5);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 4e-6, "{width}: {found} {expected}");
        }
        assert_eq!(profile.extra_wavefronts, 0);
    }
}

fn gemm(fixture_name: &str, [m, n, k]: [usize; 3], checks: Checks) -> (Vec<f32>, Profile) {
    let module = fixture(fixture_name);
    let (a, b) = (noise(m * k, 6), noise(n * k, 7));
    let mut device = Device::sm_80();
    device.checks = checks;
    let a_buffer = upload_f16(&mut device, "a", &a);
    let b_buffer = upload_f16(&mut device, "b", &b);
    let c = device.alloc("c", (m * n * 4) as u64).expect("the test sets it up right");
    let pointers = [a_buffer, b_buffer, c].map(|buffer| Arg::Pointer(buffer, 0));
    let sizes = [m, n, k].map(|size| Arg::I32(size as i32));
    let args: Vec<Arg> = pointers.into_iter().chain(sizes).collect();
    let grid = [n.div_ceil(64) as u32, m.div_ceil(64) as u32, 1];
    let kernel = module.kernel("gemm").expect("the test sets it up right");
    let profile =
        device.launch(kernel, grid, [128, 1, 1], 0, &args).expect("the test sets it up right");
    let found = download_f32(&device, c, m * n);
    let half = |x: f32| f64::from(half::f16::from_f32(x));
    for row in 0..m {
        for column in 0..n {
            let expected: f64 =
                (0..k).map(|at| half(a[row * k + at]) * half(b[column * k + at])).sum();
            let found = f64::from(found[row * n + column]);
            assert!((found - expected).abs() < 3e-5, "{row} {column}: {found} {expected}");
        }
    }
    (found, profile)
}

#[test]
fn products_agree_with_f64() {
    for size in [[64, 64, 32], [1, 2, 8], [100, 72, 40], [130, 136, 256]] {
        let (checked, profile) = gemm("gemm", size, Checks::ALL);
        let (unchecked, same) = gemm("gemm", size, Checks::NONE);
        assert_eq!(checked, unchecked);
        assert_eq!(profile, same, "checks change no count");
        assert_eq!(profile.extra_wavefronts, 0, "the swizzle leaves no bank conflict");
        let tiles = (size[0].div_ceil(64) * size[1].div_ceil(64)) as u64;
        let steps = size[2].div_ceil(32) as u64;
        assert_eq!(profile.tensor_ops, tiles * steps * 64 * 64 * 32 * 2);
        let (older, _) = gemm("gemm_12_9", size, Checks::ALL);
        assert_eq!(checked, older, "NVRTC 12.9 and 13.0 give the same recipe");
    }
}

#[test]
fn threads_change_nothing() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("the test sets it up right");
        pool.install(|| gemm("gemm", [200, 136, 64], Checks::ALL))
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn odds_and_ends_agree_with_the_host() {
    let module = fixture("odds_and_ends_13_5");
    let n = 64usize;
    let x = noise(n, 8);
    let mut device = Device::sm_80();
    let factor = [0.5f32, -1.25, 3.0];
    let (shift, offset) = (2i32, -7i64);
    let mut scale = Vec::new();
    scale.extend(shift.to_le_bytes());
    scale.extend(factor.iter().flat_map(|f| f.to_le_bytes()));
    scale.extend(offset.to_le_bytes());
    let x_buffer = upload_f32(&mut device, "x", &x);
    let y = device.alloc("y", n as u64 * 4).expect("the test sets it up right");
    let z = device.alloc("z", n as u64 * 4).expect("the test sets it up right");
    let args = [
        Arg::Bytes(scale),
        Arg::Pointer(x_buffer, 0),
        Arg::Pointer(y, 0),
        Arg::Pointer(z, 0),
        Arg::I32(n as i32),
    ];
    let kernel = module.kernel("odds_and_ends").expect("the test sets it up right");
    device.launch(kernel, [2, 1, 1], [32, 1, 1], 0, &args).expect("the test sets it up right");
    let (y, z) = (download_f32(&device, y, n), download_u32(&device, z, n));
    let table = [1.5, -2.0, 0.25, 8.0];
    for i in 0..n {
        let j = (i * 5 + n) & 7;
        let own = f64::from(x[i]);
        let kept = f64::from(x[(i + j) % n] * factor[j % 3]);
        let mut value = kept + table[i & 3] + offset as f64;
        value += (own * 3.0).sin() + (-own.abs()).exp() + own.tanh() + erf(own) + own.abs().ln_1p();
        let wide = value * 1.000000001 + 1.0 / (1.0 + own * own);
        assert!((f64::from(y[i]) - wide).abs() < 5e-6, "{i}: {} {wide}", y[i]);

        let block = (i / 32 * 32) as i32;
        let i = i as i32;
        let sum: i32 = (block..block + 32).sum();
        let first_set = if i == 0 { 0 } else { i.trailing_zeros() as i32 + 1 };
        let mut bits = 16 + (i + 1).leading_zeros() as i32 + first_set;
        bits += (i.reverse_bits() as u32 >> 24) as i32;
        match (i + shift) % 5 {
            0 => bits += 7,
            1 => bits *= 3,
            2 => bits -= i / (n as i32 + 1),
            // Bytes 0, 3, 1, 2 of i, from the lowest.
            3 => {
                let byte = |at: i32| i >> (at * 8) & 0xff;
                bits ^= byte(0) | byte(3) << 8 | byte(1) << 16 | byte(2) << 24;
            }
            _ => {}
        }
        let doubled = 2 * i + i32::from(i > 16);
        assert_eq!(z[i as usize] as i32, bits + sum + doubled, "{i}");
    }
}

/// The error function by its series, which converges fast on [-1, 1].
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..40 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}
