//! Linears that take the LayerNorm behind them into their epilogue, on `sm_90a` in f16 and bf16.
//!
//! A step that normalises the sum of a residual and of a linear's result becomes one step with that linear, if nothing
//! else reads the result and the cost model says that one kernel takes less than two. The linear's value has no buffer
//! then. What stands in the way is added to the step's reason.

use bytec_plan::kernel::Kernel;
use bytec_plan::program::{Operand, Step};

use super::Schedule;
use crate::cost::linear_layer_norm;
use crate::nvrtc::Arch;
use crate::render::{Float, Matrix, unaligned};
use crate::target::Target;

/// Makes one step of every linear and LayerNorm that suit each other.
pub(super) fn fuse(schedule: &mut Schedule) {
    let two_bytes = matches!(
        schedule.target,
        Target::Cuda { arch: Arch::SM_90A, float: Float::F16 | Float::Bf16 }
    );
    if !two_bytes {
        return;
    }
    let mut at = 0;
    while at < schedule.steps.len() {
        match pair(schedule, at) {
            // The linear came before and is gone, so the next step is at this place.
            Some(Ok(pair)) => join(schedule, at, &pair),
            Some(Err(why)) => {
                let reason = &mut schedule.steps[at].reason;
                *reason = format!("{reason}; not in the linear's epilogue: {why}");
                at += 1;
            }
            None => at += 1,
        }
    }
}

/// A linear for the LayerNorm behind it.
struct Pair {
    /// The linear's step.
    linear: usize,
    /// The operand of the LayerNorm that it gives; the other is the residual.
    operand: usize,
    reason: String,
}

/// The linear that the step at `at` can become one with, or why it can't; `None` if it is no LayerNorm with a residual,
/// or neither of the two is a linear's.
fn pair(schedule: &Schedule, at: usize) -> Option<Result<Pair, String>> {
    let step = &schedule.steps[at];
    let Kernel::LayerNorm { width, residual: true, .. } = step.kernel else { return None };
    let mut refused = None;
    for operand in [0, 1] {
        let Some((linear, k)) = linear_of(schedule, &step.operands[operand], width) else {
            continue;
        };
        match suited(schedule, at, linear, operand, width, k) {
            Ok(reason) => return Some(Ok(Pair { linear, operand, reason })),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    refused.map(Err)
}

/// The linear whose whole result an operand is, and the columns that it reads.
fn linear_of(schedule: &Schedule, operand: &Operand, width: u32) -> Option<(usize, u32)> {
    let Operand::View(view) = operand else { return None };
    let linear = schedule.steps.iter().position(|step| step.output == view.buffer)?;
    match schedule.steps[linear].kernel {
        Kernel::Linear { n, k, .. } if n == width && view.column == 0 => Some((linear, k)),
        _ => None,
    }
}

/// The reason to make one step of a linear and a LayerNorm.
fn suited(
    schedule: &Schedule,
    at: usize,
    linear: usize,
    operand: usize,
    n: u32,
    k: u32,
) -> Result<String, String> {
    let (norm, product) = (&schedule.steps[at], &schedule.steps[linear]);
    if let Kernel::Linear { epilogue, .. } = &product.kernel
        && !epilogue.is_empty()
    {
        return Err("functions come between".to_owned());
    }
    let reads = |step: &Step| step.operands.iter().filter(|x| reads(x, product.output)).count();
    let others = schedule.steps.iter().map(reads).sum::<usize>() > 1
        || schedule.outputs.iter().any(|output| output.buffer == product.output);
    if others {
        return Err(format!("%{} is needed elsewhere as well", product.name));
    }
    let matrices = [&product.operands[0], &norm.operands[1 - operand]];
    let matrices = matrices.map(|operand| schedule.matrix(operand));
    if matrices.into_iter().chain([Matrix::dense(n), Matrix::dense(k)]).any(unaligned) {
        return Err("rows that don't begin at multiples of 16 bytes".to_owned());
    }
    let (tile, [together, apart]) =
        linear_layer_norm::choose(n, k).map_err(|why| why.to_string())?;
    Ok(format!(
        "the linear, the residual and the norm in one pass, tiles of {tile}: {together} cycles for 16384 rows by \
         estimate, {apart} in two kernels"
    ))
}

fn reads(operand: &Operand, buffer: u32) -> bool {
    matches!(operand, Operand::View(view) if view.buffer == buffer)
}

/// Puts one step in the place of both, and takes out the buffer between them.
fn join(schedule: &mut Schedule, at: usize, pair: &Pair) {
    let linear = schedule.steps.remove(pair.linear);
    let norm = &mut schedule.steps[at - 1];
    let (Kernel::Linear { n, k, bias, .. }, Kernel::LayerNorm { eps, .. }) =
        (linear.kernel, &norm.kernel)
    else {
        unreachable!("a pair is a linear and a LayerNorm")
    };
    norm.kernel = Kernel::LinearLayerNorm { n, k, bias, eps: *eps, up: None };
    let own = [1 - pair.operand, 2, 3].map(|operand| norm.operands[operand]);
    norm.operands = linear.operands;
    norm.operands.extend(own);
    norm.reason.clone_from(&pair.reason);
    norm.inner.push(linear.name);
    norm.inner.extend(linear.inner);
    let gone = linear.output;
    schedule.buffers.remove(gone as usize);
    let renumber = |buffer: &mut u32| *buffer -= u32::from(*buffer > gone);
    for step in &mut schedule.steps {
        renumber(&mut step.output);
        for operand in &mut step.operands {
            if let Operand::View(view) = operand {
                renumber(&mut view.buffer);
            }
        }
    }
    for output in &mut schedule.outputs {
        renumber(&mut output.buffer);
    }
}

#[cfg(test)]
mod tests {
    use bytec_plan::kernel::Kernel;
    use bytec_plan::program::Operand;

    use crate::fuse::pack;
    use crate::schedule::{Schedule, schedule};

    /// The schedule of a linear of `n` outputs of `k` inputs and a LayerNorm.
    fn scheduled(
        target: &str,
        n: u32,
        k: u32,
        epilogue: &str,
        sum: &str,
        outputs: &str,
    ) -> Schedule {
        let text = format!(
            "bytec 1\n\
             symbol L in 1..=512\n\
             input %x: f32[L, {k}]\n\
             input %r: f32[L, {n}]\n\
             weight @w: f32[{n}, {k}]\n\
             weight @b: f32[{n}]\n\
             weight @gamma: f32[{n}]\n\
             weight @beta: f32[{n}]\n\
             %before: f32[L, {n}] = softmax(%r)\n\
             %dense: f32[L, {n}] = linear(%x, @w, @b) {{epilogue = [{epilogue}]}}\n\
             %norm: f32[L, {n}] = add_layer_norm({sum}, @gamma, @beta) {{eps = 1e-12}}\n\
             output y = %norm\n\
             {outputs}"
        );
        let packed = pack(&text.parse().unwrap()).unwrap();
        schedule(&packed, target.parse().unwrap()).unwrap()
    }

    fn kernels(schedule: &Schedule) -> Vec<&str> {
        schedule.steps.iter().map(|step| step.kernel.name()).collect()
    }

    #[test]
    fn a_linear_and_its_norm_are_one_step() {
        for (sum, target) in [("%dense, %before", "sm_90a:f16"), ("%before, %dense", "sm_90a:bf16")]
        {
            let schedule = scheduled(target, 384, 1536, "", sum, "");
            assert_eq!(kernels(&schedule), ["softmax", "linear_layer_norm"]);
            let step = &schedule.steps[1];
            let eps = 1e-12;
            let expected = Kernel::LinearLayerNorm { n: 384, k: 1536, bias: true, eps, up: None };
            assert_eq!(step.kernel, expected);
            assert_eq!((step.name.as_str(), &step.inner[..]), ("norm", &["dense".to_owned()][..]));
            assert!(step.reason.contains("clusters of 2"), "{}", step.reason);
            let [Operand::Input(0), Operand::Weight(w), Operand::Weight(b), residual, gamma, beta] =
                step.operands[..]
            else {
                panic!("{:?}", step.operands)
            };
            let shape = |weight: u32| &schedule.weights[weight as usize].shape[..];
            assert_eq!((shape(w), shape(b)), (&[384, 1536][..], &[384][..]));
            assert!(matches!(residual, Operand::View(view) if view.buffer == 0), "{residual:?}");
            assert!(matches!([gamma, beta], [Operand::Weight(_), Operand::Weight(_)]));
            // The linear's result is nowhere.
            assert_eq!(schedule.buffers.len(), 2);
            assert_eq!((step.output, schedule.outputs[0].buffer), (1, 1));
        }
    }

    #[test]
    fn what_stands_in_the_way_is_said() {
        let sum = "%dense, %before";
        for (n, k, epilogue, outputs, expected) in [
            (384, 384, "gelu_erf", "", "functions come between"),
            (384, 384, "", "output z = %dense", "%dense is needed elsewhere as well"),
            (1032, 64, "", "", "a cluster has at most 1024"),
            (64, 32, "", "", "64 x 32, of which one is less than 64"),
            (100, 64, "", "", "rows that don't begin at multiples of 16 bytes"),
        ] {
            let schedule = scheduled("sm_90a:f16", n, k, epilogue, sum, outputs);
            let norm = schedule.steps.iter().find(|step| step.name == "norm").unwrap();
            assert_eq!(norm.kernel.name(), "layer_norm", "{expected}");
            assert!(norm.reason.contains(expected), "{}", norm.reason);
        }
        for target in ["cpu", "sm_80:f16", "sm_90a:f32"] {
            let schedule = scheduled(target, 384, 384, "", sum, "");
            assert_eq!(kernels(&schedule), ["linear", "softmax", "layer_norm"], "{target}");
            assert!(!schedule.steps.iter().any(|step| step.reason.contains("epilogue:")));
        }
    }
}
