//! Convolutions: of patches, and over rows.

use bytec_ir::dim::Dim;
use bytec_ir::ops::Op as IrOp;

use super::lower::Lower;
use super::ops::linear;
use super::view::View;
use crate::dims::product;
use crate::program::ValueId;

type Outcome = Result<View, String>;

/// How a convolution moves over its input.
pub(super) struct Conv<'a> {
    pub(super) stride: &'a [u64],
    pub(super) padding: &'a [u64],
    pub(super) dilation: &'a [u64],
    pub(super) groups: u64,
}

/// A convolution as a linear of patches that don't overlap, or of windows over rows.
pub(super) fn lower(
    l: &mut Lower<'_, '_>,
    xs: &[ValueId],
    by: &Conv<'_>,
    shape: &[Dim],
    name: &str,
) -> Outcome {
    let from = l.program.shape(xs[0]).to_vec();
    let weight: Option<Vec<u64>> = l.program.shape(xs[1]).iter().map(Dim::as_fixed).collect();
    let weight = weight.ok_or("expected a kernel of fixed size")?;
    let ([_, _, kernel @ ..], [_, _, space @ ..]) = (&weight[..], &from[..]) else {
        return Err("expected channels and space".to_owned());
    };
    if by.groups != 1
        && let Some(out) = grouped(l, xs, by, &weight, shape, name)?
    {
        return Ok(out);
    }
    if by.groups != 1 || by.dilation.iter().any(|&d| d != 1) {
        return Err(format!(
            "expected a convolution of one group without dilation, found {} groups and dilation {:?}",
            by.groups, by.dilation
        ));
    }
    let (outputs, inputs) = (Dim::fixed(weight[0]), Dim::fixed(weight[1]));
    let x = l.view(xs[0])?;
    let bias = xs.get(2).map(|&bias| l.full(bias)).transpose()?;
    let width = product(&l.program.shape(xs[1])[1..]);
    let width = width.ok_or_else(|| format!("a kernel of {kernel:?} is too large"))?;
    let matrix_width = [outputs.clone(), width];
    let full: Vec<_> = [inputs.clone()].into_iter().chain(space.iter().cloned()).collect();
    let x = l.reshaped(&x, &full, name)?;
    if by.stride == kernel && by.padding.iter().all(|&p| p == 0) {
        // Patches that don't overlap: each one's channels and pixels are a row.
        let counts = &shape[2..];
        let mut x = x;
        for (axis, (count, &size)) in counts.iter().zip(kernel).enumerate() {
            let used = count.clone() * Dim::fixed(size);
            if used != space[axis] {
                let end = used.as_fixed().ok_or("the patches do not cover a space of any size")?;
                let id = l.computed(&x, name)?;
                let op = IrOp::Slice { axis: axis + 1, start: 0, end: end as usize };
                x = l.made(&format!("{name}.covered"), op, &[id])?;
            }
        }
        let split = counts.iter().zip(kernel).flat_map(|(n, &k)| [n.clone(), Dim::fixed(k)]);
        let split: Vec<_> = [inputs].into_iter().chain(split).collect();
        let x = l.reshaped(&x, &split, name)?;
        let axes = counts.len();
        let mut perm: Vec<_> = (0..axes).map(|i| 1 + 2 * i).collect();
        perm.push(0);
        perm.extend((0..axes).map(|i| 2 + 2 * i));
        let patches = product(counts).ok_or("there are too many patches")?;
        let rows = [patches, matrix_width[1].clone()];
        let x = l.shaped(&x.transposed(&perm), &rows, &format!("{name}.patches"))?;
        let matrix = l.view(xs[1])?;
        let matrix = l.shaped(&matrix, &matrix_width, &format!("{name}.matrix"))?;
        let out = linear(l, x, matrix, bias, name)?;
        let mut full = counts.to_vec();
        full.push(outputs);
        let out = l.reshaped(&out, &full, name)?;
        let perm: Vec<_> = [axes].into_iter().chain(0..axes).collect();
        return Ok(out.transposed(&perm));
    }
    let (&[size], &[1], &[padding]) = (kernel, by.stride, by.padding) else {
        return Err(format!(
            "expected patches that do not overlap, or a window over rows; found a kernel of {kernel:?}, stride {:?} and padding {:?}",
            by.stride, by.padding
        ));
    };
    if 2 * padding.min(u64::MAX / 2) + 1 != size {
        return Err(format!(
            "expected as many rows out as in, found a window of {size} with padding {padding}"
        ));
    }
    let rows = l.computed(&x.transposed(&[1, 0]), name)?;
    let op = IrOp::Unfold { size: size as usize, before: padding as usize };
    let windows = l.op(&format!("{name}.windows"), op, &[rows])?;
    // Stored `[out, in, tap]`; a window's rows lie one after the other, so taps come before columns.
    let matrix = l.view(xs[1])?;
    let matrix = l.reshaped(&matrix, &[outputs, inputs, Dim::fixed(size)], name)?;
    let matrix =
        l.shaped(&matrix.transposed(&[0, 2, 1]), &matrix_width, &format!("{name}.matrix"))?;
    Ok(linear(l, windows, matrix, bias, name)?.transposed(&[1, 0]))
}

/// The most groups of a convolution.
const MOST_GROUPS: u64 = 64;

/// A convolution of one tap in groups: a linear of each group's columns.
fn grouped(
    l: &mut Lower<'_, '_>,
    xs: &[ValueId],
    by: &Conv<'_>,
    weight: &[u64],
    shape: &[Dim],
    name: &str,
) -> Result<Option<View>, String> {
    let (outputs, inputs) = (weight[0], weight[1]);
    let one_tap = weight[2..].iter().all(|&taps| taps == 1)
        && by.stride.iter().all(|&step| step == 1)
        && by.padding.iter().all(|&zeros| zeros == 0);
    if !one_tap || by.groups > MOST_GROUPS || by.groups == 0 {
        return Ok(None);
    }
    let rows = product(&shape[2..]).ok_or("there are too many rows")?;
    let channels = inputs.checked_mul(by.groups).ok_or("there are too many channels")?;
    let x = l.view(xs[0])?;
    let x = l.reshaped(&x, &[Dim::fixed(channels), rows.clone()], name)?;
    let x = l.computed(&x.transposed(&[1, 0]), name)?;
    let matrix = l.view(xs[1])?;
    let matrix = l.shaped(&matrix, &[outputs.into(), inputs.into()], &format!("{name}.matrix"))?;
    let bias = xs.get(2).map(|&bias| l.full(bias)).transpose()?;
    let mut parts = Vec::new();
    for group in 0..by.groups {
        let of = format!("{name}.group_{group}");
        let part = |axis: usize, width: u64| {
            let (start, end) = ((group * width) as usize, ((group + 1) * width) as usize);
            IrOp::Slice { axis, start, end }
        };
        let own = outputs / by.groups;
        let columns = l.op(&format!("{of}.columns"), part(1, inputs), &[x])?;
        let weight = l.op(&format!("{of}.weight"), part(0, own), &[matrix])?;
        let bias = bias.map(|bias| l.op(&format!("{of}.bias"), part(0, own), &[bias]));
        let out = linear(l, columns, weight, bias.transpose()?, &of)?;
        parts.push(l.computed(&out, &of)?);
    }
    let out = l.made(name, IrOp::Concat { axis: 1 }, &parts)?;
    let mut full = shape[2..].to_vec();
    full.push(outputs.into());
    let out = l.reshaped(&out, &full, name)?;
    let axes = shape.len() - 2;
    let perm: Vec<_> = [axes].into_iter().chain(0..axes).collect();
    Ok(Some(out.transposed(&perm)))
}
