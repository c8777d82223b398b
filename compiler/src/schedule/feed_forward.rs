//! Linears that may be one launch with the linear and LayerNorm that read them, on `sm_90a` in f16 and bf16.
//!
//! Both stay steps, with the value between them in its buffer: the bits are the same either way, so each batch may be
//! launched as the cost model says for its rows. The second step names the first linear and has its operands behind its
//! own, which keeps them alive until then. What stands in the way is added to the step's reason.

use bytec_plan::kernel::{Kernel, Up};
use bytec_plan::program::{Operand, Step};

use super::Schedule;
use crate::cost::feed_forward::Layers;
use crate::render::{Matrix, unaligned};

/// Names for every linear with its LayerNorm the linear whose result it reads, if some batches are better off with one
/// launch of both.
pub(super) fn name_ups(schedule: &mut Schedule) {
    for at in 0..schedule.steps.len() {
        let Some(first) = first_of(schedule, at) else { continue };
        match suited(schedule, at, first) {
            Ok((named, reason)) => {
                let operands = schedule.steps[first].operands.clone();
                let step = &mut schedule.steps[at];
                if let Kernel::LinearLayerNorm { up, .. } = &mut step.kernel {
                    *up = Some(named);
                }
                step.operands.extend(operands);
                step.reason = format!("{}; {reason}", step.reason);
            }
            Err(why) => {
                let name = schedule.steps[first].name.clone();
                let reason = &mut schedule.steps[at].reason;
                *reason = format!("{reason}; not in one launch with %{name}: {why}");
            }
        }
    }
}

/// The linear whose whole result the step at `at` multiplies; `None` if it is no linear with a LayerNorm, or reads
/// another step's.
fn first_of(schedule: &Schedule, at: usize) -> Option<usize> {
    let step = &schedule.steps[at];
    let (Kernel::LinearLayerNorm { k, .. }, Some(Operand::View(x))) =
        (&step.kernel, step.operands.first())
    else {
        return None;
    };
    let first = schedule.steps.iter().position(|other| other.output == x.buffer)?;
    let whole = x.column == 0 && schedule.buffers[x.buffer as usize].width == u64::from(*k);
    (whole && matches!(schedule.steps[first].kernel, Kernel::Linear { .. })).then_some(first)
}

/// The first linear as the second step names it, and for which batches it does.
fn suited(schedule: &Schedule, at: usize, first: usize) -> Result<(Up, String), String> {
    let (step, product) = (&schedule.steps[at], &schedule.steps[first]);
    let (Kernel::LinearLayerNorm { n, k: hidden, .. }, Kernel::Linear { k, bias, epilogue, .. }) =
        (&step.kernel, &product.kernel)
    else {
        return Err("it is no linear".to_owned());
    };
    let reads = |operand: &&Operand| matches!(operand, Operand::View(view) if view.buffer == product.output);
    let readers = schedule.steps.iter().flat_map(|step: &Step| &step.operands).filter(reads);
    if readers.count() > 1 || schedule.outputs.iter().any(|output| output.buffer == product.output)
    {
        return Err("its result is needed elsewhere as well".to_owned());
    }
    let x = schedule.matrix(&product.operands[0]);
    if [x, Matrix::dense(*k), Matrix::dense(*hidden)].into_iter().any(unaligned) {
        return Err("rows that don't begin at multiples of 16 bytes".to_owned());
    }
    let layers = Layers { n: *n, hidden: *hidden, k: *k, epilogue: epilogue.clone() };
    let batches = layers.batches().map_err(|why| why.to_string())?;
    let batches: Vec<_> =
        batches.iter().map(|rows| format!("{} to {}", rows.start, rows.end - 1)).collect();
    let reason =
        format!("in one launch with %{} for {} rows by estimate", product.name, batches.join(", "));
    Ok((Up { k: *k, bias: *bias, epilogue: epilogue.clone() }, reason))
}

#[cfg(test)]
mod tests {
    use bytec_plan::kernel::{Kernel, UnaryFn, Up};

    use crate::fuse::pack;
    use crate::schedule::{Schedule, schedule};

    /// The schedule of two linears with a function between them, and a LayerNorm.
    fn scheduled(target: &str, [n, hidden]: [u32; 2], function: &str, outputs: &str) -> Schedule {
        let text = format!(
            "bytec 1\n\
             symbol L in 1..=512\n\
             input %x: f32[L, {n}]\n\
             weight @u: f32[{hidden}, {n}]\n\
             weight @ub: f32[{hidden}]\n\
             weight @w: f32[{n}, {hidden}]\n\
             weight @b: f32[{n}]\n\
             weight @gamma: f32[{n}]\n\
             weight @beta: f32[{n}]\n\
             %before: f32[L, {n}] = softmax(%x)\n\
             %up: f32[L, {hidden}] = linear(%before, @u, @ub) {{epilogue = [{function}]}}\n\
             %down: f32[L, {n}] = linear(%up, @w, @b) {{epilogue = []}}\n\
             %norm: f32[L, {n}] = add_layer_norm(%down, %before, @gamma, @beta) {{eps = 1e-12}}\n\
             output y = %norm\n\
             {outputs}"
        );
        let packed = pack(&text.parse().unwrap()).unwrap();
        schedule(&packed, target.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_second_step_has_the_first_ones_operands() {
        let schedule = scheduled("sm_90a:bf16", [384, 1536], "gelu_erf", "");
        let [_, first, second] = &schedule.steps[..] else { panic!("three steps") };
        let Kernel::LinearLayerNorm { up, .. } = &second.kernel else { panic!("{second:?}") };
        let epilogue = vec![UnaryFn::GeluErf];
        assert_eq!(*up, Some(Up { k: 384, bias: true, epilogue }));
        assert_eq!(second.operands[6..], first.operands);
        let expected = "in one launch with %up for 7169 to 8192, 15361 to 16384 rows";
        assert!(second.reason.contains(expected), "{}", second.reason);
        // What the first linear reads lives on, and its result is not where the second's goes.
        let slot = |buffer: u32| schedule.buffers[buffer as usize].slot;
        let slots = [0, 1, 2].map(|step: usize| slot(schedule.steps[step].output));
        assert!(slots[0] != slots[2] && slots[1] != slots[2] && slots[0] != slots[1], "{slots:?}");
    }

    #[test]
    fn what_stands_in_the_way_is_said() {
        let sizes = [384, 1536];
        for (sizes, function, outputs, expected) in [
            (sizes, "gelu_erf", "output z = %up", "its result is needed elsewhere as well"),
            ([768, 3072], "relu", "", "of which a warpgroup makes at most 128"),
        ] {
            let schedule = scheduled("sm_90a:f16", sizes, function, outputs);
            let norm = schedule.steps.iter().find(|step| step.name == "norm").unwrap();
            let up = matches!(norm.kernel, Kernel::LinearLayerNorm { up: Some(_), .. });
            assert!(!up && norm.reason.contains(expected), "{}", norm.reason);
        }
        for target in ["cpu", "sm_80:f16", "sm_90a:f32"] {
            let schedule = scheduled(target, sizes, "gelu_erf", "");
            assert!(!schedule.steps.iter().any(|step| step.reason.contains("one launch")));
        }
    }
}
