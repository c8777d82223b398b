//! Matrices `[n, k]` as the CPU's linears read them: panels of a few outputs, filled up with zeros.

/// `[ceil(n / width)][k][width]`
pub(super) fn panels(values: &[f32], (n, k): (usize, usize), width: usize) -> Vec<f32> {
    let mut packed = vec![0.0; n.div_ceil(width) * k * width];
    for (panel, outputs) in packed.chunks_mut((k * width).max(1)).enumerate() {
        for (column, row) in outputs_of(values, k, panel, width) {
            for (i, &value) in row.iter().enumerate() {
                outputs[i * width + column] = value;
            }
        }
    }
    packed
}

/// `[ceil(n / width)][ceil(k / 2)][width][2]`
pub(super) fn pairs(values: &[f32], (n, k): (usize, usize), width: usize) -> Vec<f32> {
    let depth = k.div_ceil(2);
    let mut packed = vec![0.0; n.div_ceil(width) * depth * width * 2];
    for (panel, outputs) in packed.chunks_mut((depth * width * 2).max(1)).enumerate() {
        for (column, row) in outputs_of(values, k, panel, width) {
            for (i, &value) in row.iter().enumerate() {
                outputs[(i / 2 * width + column) * 2 + i % 2] = value;
            }
        }
    }
    packed
}

/// For each panel `[ceil(k / 4)][width][4]` bytes, then the scales of its outputs in f32, then the sums of their
/// bytes in i32.
///
/// An output's scale is its largest size over 127, and a byte the nearest of -127..=127 times it, ties to even. An output
/// that is not finite has a scale of NaN, so that it is seen.
pub(super) fn quads(values: &[f32], (n, k): (usize, usize), width: usize) -> Vec<u8> {
    let depth = k.div_ceil(4);
    let (scales, sums) = (depth * width * 4, (depth + 1) * width * 4);
    let mut packed = vec![0; n.div_ceil(width) * (depth + 2) * width * 4];
    for (panel, outputs) in packed.chunks_mut((depth + 2) * width * 4).enumerate() {
        for (column, row) in outputs_of(values, k, panel, width) {
            let finite = row.iter().all(|x| x.is_finite());
            let largest = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let scale = if finite { largest / 127.0 } else { f32::NAN };
            let mut sum = 0i32;
            if scale > 0.0 {
                for (i, &value) in row.iter().enumerate() {
                    let nearest = (f64::from(value) / f64::from(scale)).round_ties_even();
                    let byte = nearest.clamp(-127.0, 127.0) as i8;
                    sum += i32::from(byte);
                    outputs[(i / 4 * width + column) * 4 + i % 4] = byte as u8;
                }
            }
            let at = |begin: usize| begin + column * 4..begin + column * 4 + 4;
            outputs[at(scales)].copy_from_slice(&scale.to_le_bytes());
            outputs[at(sums)].copy_from_slice(&sum.to_le_bytes());
        }
    }
    packed
}

/// The rows of a panel's outputs, each with its place in the panel.
fn outputs_of(
    values: &[f32],
    k: usize,
    panel: usize,
    width: usize,
) -> impl Iterator<Item = (usize, &[f32])> {
    values.chunks(k.max(1)).skip(panel * width).take(width).enumerate()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_interleave_outputs_and_pad_with_zeros() {
        // Three outputs of two inputs, in panels of two outputs.
        let packed = panels(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (3, 2), 2);
        assert_eq!(packed, [1.0, 3.0, 2.0, 4.0, 5.0, 0.0, 6.0, 0.0]);
    }

    #[test]
    fn pairs_lie_side_by_side_and_are_padded_with_zeros() {
        // Three outputs of three inputs, in panels of two outputs.
        let packed = pairs(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], (3, 3), 2);
        let first = [1.0, 2.0, 4.0, 5.0, 3.0, 0.0, 6.0, 0.0];
        let second = [7.0, 8.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0];
        assert_eq!(packed, [first, second].concat());
    }

    #[test]
    fn quads_have_a_scale_for_each_output_and_its_sum_behind() {
        // Three outputs of five inputs, in panels of two outputs: one that needs no rounding, one with ties, and zeros.
        let values = [[127.0, -1.0, 0.0, 2.0, -127.0], [0.5, -127.0, 1.5, 2.5, -1.5], [0.0; 5]];
        let packed = quads(values.as_flattened(), (3, 5), 2);
        let bytes = |bytes: &[i8]| bytes.iter().map(|byte| *byte as u8).collect::<Vec<_>>();
        let expected = [
            bytes(&[127, -1, 0, 2, 0, -127, 2, 2, -127, 0, 0, 0, -2, 0, 0, 0]),
            [1.0f32, 1.0].iter().flat_map(|x| x.to_le_bytes()).collect(),
            [1i32, -125].iter().flat_map(|x| x.to_le_bytes()).collect(),
            vec![0; 32],
        ];
        assert_eq!(packed, expected.concat());
    }

    #[test]
    fn outputs_that_are_not_finite_and_tiny_ones_are_well_defined() {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let packed = quads(&[1.0, wrong, 3.0, 4.0], (2, 2), 2);
            assert_eq!(packed[..4], [0; 4]);
            let scale = |at: usize| f32::from_le_bytes([0, 1, 2, 3].map(|i| packed[at + i]));
            assert!(scale(8).is_nan());
            assert_eq!(scale(12), 4.0 / 127.0);
        }
        let least = f32::from_bits(1);
        assert_eq!(quads(&[least, -least], (1, 2), 1), [0; 12]);
        let few = quads(&[f32::MIN_POSITIVE, -f32::MIN_POSITIVE], (1, 2), 1);
        assert_eq!(few[..4], [127, 129, 0, 0]);
        assert!(quads(&[], (0, 4), 32).is_empty());
        assert!(quads(&[], (0, 0), 32).is_empty());
    }
}
