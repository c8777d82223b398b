//! Which linears of a program in int8 are.
//!
//! All of them, but for those that give an output of the model, as heads do: what they give is read as it is, and nothing
//! after them evens errors out; those with few inputs or outputs, which cost little; and those with so many inputs that
//! their sums could overflow. Embedding tables, norms and attention have no linear and stay f32 anyway.

use bytec_plan::kernel::Kernel;
use bytec_plan::program::{Layout, MOST_INT8_INPUTS, Operand, Step};

use super::select::PANEL_WIDTH;
use super::{Schedule, ScheduleError, WeightUse};
use crate::target::Target;

/// The fewest inputs and outputs of a linear in int8.
const FEWEST: u32 = 32;

/// Gives the linears of a program for [`Target::CpuInt8`] weights in int8, and every linear's step the reason.
///
/// # Errors
/// If none suits.
pub(super) fn choose(schedule: &mut Schedule) -> Result<(), ScheduleError> {
    if schedule.target != Target::CpuInt8 {
        return Ok(());
    }
    let old = std::mem::take(&mut schedule.weights);
    let mut kept = Vec::new();
    let mut chosen = 0;
    // Weights are numbered anew, in order of first use: a linear's may have been shared with a step that keeps its own.
    let mut weights: Vec<WeightUse> = Vec::new();
    for step in &mut schedule.steps {
        let in_int8 = match why_not(step, schedule.outputs.iter().map(|output| output.buffer)) {
            None => false,
            Some(Err(why)) => {
                step.reason = format!("{}; f32 as {why}", step.reason);
                kept.push(format!("%{} as {why}", step.name));
                false
            }
            Some(Ok(())) => {
                step.reason =
                    "the weight is constant: int8 in panels of four k, a scale for each output"
                        .to_owned();
                chosen += 1;
                true
            }
        };
        for (nth, operand) in step.operands.iter_mut().enumerate() {
            let Operand::Weight(index) = operand else { continue };
            let mut wanted = old[*index as usize].clone();
            if in_int8 && nth == 1 {
                wanted.layout = Layout::Quads { width: PANEL_WIDTH };
            }
            let found = weights.iter().position(|known| *known == wanted).unwrap_or_else(|| {
                weights.push(wanted);
                weights.len() - 1
            });
            *index = found as u32;
        }
    }
    schedule.weights = weights;
    if chosen == 0 {
        return Err(ScheduleError::NothingInInt8 { target: schedule.target, kept });
    }
    Ok(())
}

/// Why a step's linear is not in int8; `None` if the step is no linear.
fn why_not(step: &Step, mut outputs: impl Iterator<Item = u32>) -> Option<Result<(), String>> {
    let Kernel::Linear { n, k, .. } = step.kernel else { return None };
    Some(if outputs.any(|output| output == step.output) {
        Err("it gives an output".to_owned())
    } else if n < FEWEST || k < FEWEST {
        Err(format!("{k} inputs and {n} outputs are few"))
    } else if u64::from(k) > MOST_INT8_INPUTS {
        Err(format!("the sums of {k} inputs could overflow"))
    } else {
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use bytec_plan::kernel::Kernel;
    use bytec_plan::program::{DType, Layout, Operand};

    use super::super::schedule;
    use super::{MOST_INT8_INPUTS, Schedule, ScheduleError};
    use crate::fuse::pack::pack;
    use crate::target::Target;

    /// Linears of `x [L, k]`: `%y` with 40 outputs, and `%z`, an output, of the same weight; and what `more` adds.
    fn scheduled(k: u64, more: &str) -> Result<Schedule, ScheduleError> {
        let text = format!(
            "bytec 1\nsymbol L in 1..=9\ninput %x: f32[L, {k}]\nweight @w: f32[40, {k}]\n\
             %y: f32[L, 40] = linear(%x, @w) {{epilogue = [relu]}}\n\
             %z: f32[L, 40] = linear(%x, @w) {{epilogue = []}}\n\
             %first: f32[40] = pool(%y) {{kind = cls, normalize = none}}\n{more}\
             output z = %z\noutput first = %first\n"
        );
        schedule(&pack(&text.parse().unwrap()).unwrap(), Target::CpuInt8)
    }

    /// Each linear's name, in their order, the type of its weight, and the end of its reason.
    fn linears(schedule: &Schedule) -> Vec<(&str, DType, &str)> {
        let linears = schedule.steps.iter().filter(|s| matches!(s.kernel, Kernel::Linear { .. }));
        let mut linears: Vec<_> = linears
            .map(|step| {
                let Operand::Weight(weight) = step.operands[1] else { panic!("a weight") };
                let weight = &schedule.weights[weight as usize];
                let quads = matches!(weight.layout, Layout::Quads { width: 32 });
                let dtype = weight.dtype(DType::F32);
                assert_eq!(dtype == DType::I8, quads, "{weight:?}");
                (&*step.name, dtype, step.reason.rsplit_once(" as ").map_or("", |(_, why)| why))
            })
            .collect();
        linears.sort_by_key(|linear| linear.0);
        linears
    }

    #[test]
    fn linears_are_in_int8_but_for_those_that_give_an_output() {
        let schedule = scheduled(32, "").unwrap();
        assert_eq!(
            linears(&schedule),
            [("y", DType::I8, ""), ("z", DType::F32, "it gives an output")]
        );
        // The weight that both read is there in either form.
        assert_eq!(schedule.weights.len(), 2);
    }

    #[test]
    fn narrow_and_very_deep_ones_stay_as_they_are() {
        let narrow = "weight @v: f32[31, 40]\n%n: f32[L, 31] = linear(%y, @v) {epilogue = []}\n\
                      weight @u: f32[40, 31]\n%m: f32[L, 40] = linear(%n, @u) {epilogue = []}\n\
                      %last: f32[40] = pool(%m) {kind = cls, normalize = none}\noutput last = %last\n";
        let schedule = scheduled(64, narrow).unwrap();
        let found: Vec<_> = linears(&schedule).into_iter().map(|(.., why)| why).collect();
        let few = ["40 inputs and 31 outputs are few", "31 inputs and 40 outputs are few"];
        assert!(few.iter().all(|why| found.contains(why)), "{found:?}");
        assert_eq!(found.len(), 4);
        let most = scheduled(MOST_INT8_INPUTS, "").unwrap();
        assert_eq!(linears(&most)[0].1, DType::I8);
        let error = scheduled(MOST_INT8_INPUTS + 1, "").unwrap_err().to_string();
        assert_eq!(
            error,
            "expected a linear for target cpu:int8 to multiply in int8, found only those that stay f32: %z as it gives an \
             output, %y as the sums of 65537 inputs could overflow; compile for cpu or cpu:bf16"
        );
    }

    #[test]
    fn a_model_without_linears_is_refused() {
        let text = "bytec 1\nsymbol L in 1..=9\ninput %x: f32[L, 64]\n\
                    %first: f32[64] = pool(%x) {kind = cls, normalize = none}\noutput first = %first\n";
        let error = schedule(&pack(&text.parse().unwrap()).unwrap(), Target::CpuInt8).unwrap_err();
        assert!(error.to_string().contains("found none in the model"), "{error}");
    }
}
