//! A schedule's steps as launches of rendered sources.

use bytec_plan::device::{FromRows, Launch};
use bytec_plan::extent::Rows;
use bytec_plan::program::{Operand, Step, SymbolSpec};

use super::{Float, Matrix, RenderError, Renderer, Site, Source, source};
use crate::cost::attention::Lengths;
use crate::nvrtc::Arch;
use crate::schedule::Schedule;
use crate::target::Target;
use crate::tuned::Table;

/// The code of a program before it is compiled.
pub struct Rendered {
    /// The distinct kernels.
    pub sources: Vec<Source>,
    /// One launch for each step; a launch's module is the index of its source.
    pub launches: Vec<Launch>,
    /// Others for some steps, of many rows.
    pub by_rows: Vec<FromRows>,
    /// What the measured tables came to, one line each; none without tables.
    pub notes: Vec<String>,
}

/// Renders every step of a schedule, with tiles as the tables say where they say it.
///
/// # Errors
/// A step whose kernel has no template, or a size that its template does not take.
pub fn render(
    schedule: &Schedule,
    float: Float,
    tables: &[Table],
) -> Result<Rendered, RenderError> {
    let (mut renderer, overlaps) = match schedule.target {
        Target::Cuda { arch, .. } => {
            (Renderer::for_arch(arch)?.with_tables(tables), overlaps(arch))
        }
        Target::Cpu | Target::CpuBf16 | Target::CpuInt8 => (Renderer::new()?, false),
    };
    let mut launches = Vec::with_capacity(schedule.steps.len());
    let mut by_rows = Vec::new();
    for (index, step) in schedule.steps.iter().enumerate() {
        let (operands, output) = matrices(schedule, step);
        let site = Site { kernel: &step.kernel, dtype: float, operands: &operands, output };
        for (rows, module) in renderer.render_by_rows(&site, lengths(schedule, step))? {
            let launch = launch(&renderer.sources()[module], module as u32, overlaps);
            match rows {
                0 => launches.push(launch),
                _ => by_rows.push(FromRows { step: index as u32, rows, launch }),
            }
        }
        let Some(both) = renderer.together(&schedule.steps, index, &site)? else { continue };
        let together = launch(&renderer.sources()[both.source], both.source as u32, overlaps);
        let of_first = both.of_first(&launches[both.first]);
        let of_second = both.of_second(&launches[index], &together);
        for (step, ways) in [(both.first, of_first), (index, of_second)] {
            let from = |(rows, launch)| FromRows { step: step as u32, rows, launch };
            by_rows.extend(ways.into_iter().map(from));
        }
    }
    by_rows.sort_by_key(|other: &FromRows| (other.step, other.rows));
    let notes = renderer.notes();
    Ok(Rendered { sources: renderer.into_sources(), launches, by_rows, notes })
}

/// How a step's operands and its output lie.
fn matrices(schedule: &Schedule, step: &Step) -> (Vec<Matrix>, Matrix) {
    let operands = step.operands.iter().map(|operand| schedule.matrix(operand)).collect();
    let stride = schedule.buffers[step.output as usize].width;
    (operands, Matrix { column: 0, stride })
}

/// Whether kernels of an architecture begin while the launch before them still runs: those whose
/// templates are compiled with a wait for it.
pub(crate) fn overlaps(arch: Arch) -> bool {
    arch.capability() >= 90
}

/// How a source is launched that becomes the module of this index.
pub(crate) fn launch(source: &Source, module: u32, overlaps: bool) -> Launch {
    let source::Launch { grid, block, shared } = source.launch;
    Launch { module, grid, block, shared, overlaps, args: source.args.clone() }
}

/// How many rows samples may have of a step's output and of its second operand.
fn lengths(schedule: &Schedule, step: &Step) -> Lengths {
    let of = |end: fn(&SymbolSpec) -> u64| {
        let symbols: Vec<_> = schedule.symbols.iter().map(end).collect();
        let rows = |buffer: u32| match schedule.buffers[buffer as usize].rows {
            Rows::PerSample => 1,
            Rows::Ragged(extent) => {
                schedule.extents[extent as usize].eval(&symbols).unwrap_or(u64::MAX)
            }
        };
        let queries = rows(step.output);
        match step.operands.get(1) {
            Some(Operand::View(view)) => [queries, rows(view.buffer)],
            _ => [queries; 2],
        }
    };
    let most = of(|symbol| symbol.max);
    let [queries, keys] = most;
    Lengths { queries, keys, alike: most == of(|symbol| symbol.min) }
}

#[cfg(test)]
mod tests {
    use super::{Float, render};
    use crate::fuse::pack;
    use crate::schedule::schedule;

    /// The tile of attention in a plan is that for the most rows of the model's samples.
    #[test]
    fn plans_have_the_tiles_that_suit_their_samples() {
        let tile = |samples: &str, rows: &str| {
            let graph = format!(
                "bytec 1\n{samples}input %x: f32[{rows}, 384]\n\
                 %q: f32[{rows}, 128] = slice(%x) {{axis = 1, start = 0, end = 128}}\n\
                 %k: f32[{rows}, 128] = slice(%x) {{axis = 1, start = 128, end = 256}}\n\
                 %v: f32[{rows}, 128] = slice(%x) {{axis = 1, start = 256, end = 384}}\n\
                 %y: f32[{rows}, 128] = attention(%q, %k, %v) \
                 {{heads = 2, head_size = 64, scale = 0.125}}\noutput y = %y\n"
            );
            let graph = graph.parse().unwrap();
            let target = "sm_90a:f16".parse().unwrap();
            let schedule = schedule(&pack(&graph).unwrap(), target).unwrap();
            let rendered = render(&schedule, Float::F16, &[]).unwrap();
            let notes = rendered.sources.into_iter().filter_map(|source| source.note);
            notes.collect::<Vec<_>>().join("\n")
        };
        for (samples, rows, expected) in [
            ("symbol L in 1..=64\n", "L", "tiles of 64 queries x 64 keys, 4 blocks"),
            ("symbol L in 1..=512\n", "L", "tiles of 128 queries x 64 keys, 2 blocks"),
            ("symbol L in 1..=8192\n", "L", "at 2048 rows"),
            ("symbol L in 1..=8192\n", "L", "tiles of 128 queries x 128 keys by turns"),
            ("symbol L in 1..=4096\n", "2*L", "at 2048 rows"),
            ("symbol L in 8192..=8192\n", "L", "stages; estimated 68 % of the peak at 8192 rows"),
        ] {
            let found = tile(samples, rows);
            assert!(found.contains(expected), "{samples}: {found}, expected {expected}");
        }
    }
}
