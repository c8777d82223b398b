//! What several tests need: fixtures, deterministic inputs, typed uploads and downloads.

use bytec_sim::{Buffer, Device, Module};

/// A module of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> Module {
    let path = format!("{}/tests/fixtures/{name}.ptx", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Module::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Numbers from -1 to 1.
pub(crate) fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32) / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Little-endian bytes of numbers.
pub(crate) fn bytes<const N: usize, T: Copy>(values: &[T], one: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| one(*value)).collect()
}

/// A buffer that holds f32.
pub(crate) fn upload_f32(device: &mut Device, name: &str, values: &[f32]) -> Buffer {
    let buffer = device.alloc(name, values.len() as u64 * 4).expect("the test sets it up right");
    device.upload(buffer, 0, &bytes(values, f32::to_le_bytes)).expect("the test sets it up right");
    buffer
}

/// A buffer that holds f16.
pub(crate) fn upload_f16(device: &mut Device, name: &str, values: &[f32]) -> Buffer {
    let buffer = device.alloc(name, values.len() as u64 * 2).expect("the test sets it up right");
    let data = bytes(values, |value| half::f16::from_f32(value).to_bits().to_le_bytes());
    device.upload(buffer, 0, &data).expect("the test sets it up right");
    buffer
}

/// A whole buffer of u32.
pub(crate) fn download_u32(device: &Device, buffer: Buffer, count: usize) -> Vec<u32> {
    let data = device.download(buffer, 0..count as u64 * 4).expect("the test sets it up right");
    data.chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().expect("the test sets it up right")))
        .collect()
}

/// A whole buffer of f32.
pub(crate) fn download_f32(device: &Device, buffer: Buffer, count: usize) -> Vec<f32> {
    download_u32(device, buffer, count).into_iter().map(f32::from_bits).collect()
}
