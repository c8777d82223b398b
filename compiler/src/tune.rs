//! Plans whose linears have other tiles: what `bytec tune` times, and what it writes.
//!
//! A plan says enough of its steps to render them again: the kernel with its sizes, the element type, and how operands
//! lie. So a plan can be tuned without the model that it was compiled from. Everything but the tiles stays as it is, and
//! no tile changes a bit of any result.

use std::collections::BTreeMap;
use std::io::Write;

use bytec_plan::device::{DeviceCode, FromRows, ModuleSpec};
use bytec_plan::kernel::Kernel;
use bytec_plan::manifest::Manifest;
use bytec_plan::program::{DType, Operand, Program, Step, WeightSpec};
use bytec_plan::reader::PlanIndex;
use bytec_plan::weights::WeightTable;
use bytec_plan::writer::{Contents, WriteError, write};
use thiserror::Error;

use crate::code::{self, CodeError, Toolchain};
use crate::cost::attention::Lengths;
use crate::cost::linear::Layer;
use crate::emit::device::module;
use crate::nvrtc::{Arch, Compiled};
use crate::render::{Float, Matrix, RenderError, Renderer, Site, Source, Together, steps};
use crate::report::COMPILER;
use crate::tuned::{self, Table};

/// Plans that can't be tuned.
#[derive(Debug, Error)]
pub enum TuneError {
    /// Another version's kernels may give other bits.
    #[error(
        "expected a plan compiled by {COMPILER}, found one by {found}; compile the model again with this bytec"
    )]
    Compiler {
        /// What compiled it.
        found: String,
    },
    /// No step has a choice.
    #[error(
        "expected a program with steps whose tiles can be chosen (linears of at least 64 inputs and outputs in f16 or bf16 \
         for sm_90a), found none in {entry} for {target} in {dtype}"
    )]
    NoChoice {
        /// The program's entry point.
        entry: String,
        /// What it is for.
        target: String,
        /// Its element type.
        dtype: &'static str,
    },
    /// A weight lies outside the plan's file.
    #[error("expected the bytes of weight {name} inside the plan, found them outside")]
    Weight {
        /// The weight.
        name: String,
    },
    /// A kernel could not be made.
    #[error(transparent)]
    Code(#[from] CodeError),
}

impl From<RenderError> for TuneError {
    fn from(error: RenderError) -> Self {
        Self::Code(error.into())
    }
}

/// A linear whose tiles can be chosen. Steps of the same sizes share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunable {
    /// Its sizes and functions.
    pub layer: Layer,
    /// Whether there is a bias.
    pub bias: bool,
    /// The steps that compute it.
    pub steps: Vec<usize>,
}

/// The linears of a program whose tiles can be chosen, in the order of their first steps.
///
/// # Errors
/// A step that the compiler can't render.
pub fn tunable(program: &Program) -> Result<Vec<Tunable>, TuneError> {
    let Some((renderer, dtype)) = renderer(program, &[])? else { return Ok(Vec::new()) };
    let mut all: Vec<Tunable> = Vec::new();
    for (index, step) in program.steps.iter().enumerate() {
        let Kernel::Linear { n, k, bias, epilogue } = &step.kernel else { continue };
        let operands = operands(program, step);
        if !renderer.has_choice(&site(program, step, dtype, &operands)) {
            continue;
        }
        let layer = Layer { n: *n, k: *k, epilogue: epilogue.clone() };
        match all.iter_mut().find(|known| known.layer == layer && known.bias == *bias) {
            Some(known) => known.steps.push(index),
            None => all.push(Tunable { layer, bias: *bias, steps: vec![index] }),
        }
    }
    Ok(all)
}

/// As [`tunable`], for a program of a plan.
///
/// # Errors
/// A plan of another compiler, or one without a choice.
pub fn layers(index: &PlanIndex, program: usize) -> Result<Vec<Tunable>, TuneError> {
    if index.manifest.compiler != COMPILER {
        return Err(TuneError::Compiler { found: index.manifest.compiler.clone() });
    }
    let of = &index.programs[program];
    let layers = tunable(of)?;
    if layers.is_empty() {
        let (entry, target, dtype) = (of.entry.clone(), of.target.clone(), of.dtype.name());
        return Err(TuneError::NoChoice { entry, target, dtype });
    }
    Ok(layers)
}

/// A plan with other tiles, ready to be written.
pub struct Retiled<'p> {
    manifest: Manifest,
    programs: Vec<Program>,
    weights: WeightTable<'p>,
    modules: WeightTable<'p>,
    tokenizer: Option<&'p [u8]>,
}

impl Retiled<'_> {
    /// Writes the plan's bytes; returns how many.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: impl Write) -> Result<u64, WriteError> {
        let contents = Contents {
            manifest: &self.manifest,
            programs: &self.programs,
            weights: &self.weights,
            modules: Some(&self.modules),
            tokenizer: self.tokenizer,
        };
        write(contents, out)
    }
}

/// The plan once for each way, with the tiles of one program as that way's tables say, or else as the cost model does.
/// The kernels of all ways are compiled together, on the current thread pool; `done` hears of each.
///
/// # Errors
/// A plan of another compiler, one without a choice, or a kernel that does not compile.
pub fn retile<'p>(
    (index, file): (&PlanIndex, &'p [u8]),
    program: usize,
    ways: &[Vec<Table>],
    toolchain: &Toolchain,
    done: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Retiled<'p>>, TuneError> {
    let of = &index.programs[program];
    let steps: Vec<usize> =
        layers(index, program)?.into_iter().flat_map(|layer| layer.steps).collect();
    let rendered = ways.iter().map(|tables| render(of, &steps, tables));
    let rendered = rendered.collect::<Result<Vec<_>, _>>()?;
    let units: Vec<_> = rendered
        .iter()
        .flat_map(|way| way.sources.iter().map(|source| (source, Arch::SM_90A)))
        .collect();
    let (nvrtc, cache) = code::open(toolchain).map_err(CodeError::from)?;
    let count = std::sync::atomic::AtomicUsize::new(0);
    let step = |_| {
        let before = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        done(before + 1, units.len());
    };
    let compiled = nvrtc.compile(&units, cache.as_ref(), &step).map_err(CodeError::from)?;
    let mut compiled = compiled.into_iter();
    let mut plans = Vec::with_capacity(ways.len());
    for way in rendered {
        let own = compiled.by_ref().take(way.sources.len()).collect();
        plans.push(put_together((index, file), program, way, own)?);
    }
    Ok(plans)
}

/// The tunable steps of one way.
struct Way {
    sources: Vec<Source>,
    /// For each tunable step the fewest rows and the source of each launch.
    launches: BTreeMap<usize, Vec<(u64, usize)>>,
    /// Steps that are done together with such a step.
    together: Vec<Together>,
    notes: Vec<String>,
}

fn render(program: &Program, steps: &[usize], tables: &[Table]) -> Result<Way, TuneError> {
    let mut launches = BTreeMap::new();
    let Some((mut renderer, dtype)) = renderer(program, tables)? else {
        let (sources, together, notes) = (Vec::new(), Vec::new(), Vec::new());
        return Ok(Way { sources, launches, together, notes });
    };
    for &index in steps {
        let step = &program.steps[index];
        let operands = operands(program, step);
        let site = site(program, step, dtype, &operands);
        launches.insert(index, renderer.render_by_rows(&site, Lengths::default())?);
    }
    let mut together = Vec::new();
    for (index, step) in program.steps.iter().enumerate() {
        let operands = operands(program, step);
        let site = site(program, step, dtype, &operands);
        let both = renderer.together(&program.steps, index, &site)?;
        together.extend(both.filter(|both| launches.contains_key(&both.first)));
    }
    let notes = renderer.notes();
    Ok(Way { sources: renderer.into_sources(), launches, together, notes })
}

/// A renderer for a program's device; `None` if its kernels leave no choice.
fn renderer(program: &Program, tables: &[Table]) -> Result<Option<(Renderer, Float)>, TuneError> {
    let dtype = match program.dtype {
        DType::F16 => Float::F16,
        DType::Bf16 => Float::Bf16,
        _ => return Ok(None),
    };
    let hopper = Arch::SM_90A.to_string();
    if program.device.as_ref().is_none_or(|code| code.arch != hopper) {
        return Ok(None);
    }
    Ok(Some((Renderer::for_arch(Arch::SM_90A)?.with_tables(tables), dtype)))
}

/// A step as it was rendered.
fn site<'a>(program: &Program, step: &'a Step, dtype: Float, operands: &'a [Matrix]) -> Site<'a> {
    let stride = program.buffers[step.output as usize].width;
    Site { kernel: &step.kernel, dtype, operands, output: Matrix { column: 0, stride } }
}

/// How a step's operands lie. Weights and inputs are dense.
fn operands(program: &Program, step: &Step) -> Vec<Matrix> {
    let matrix = |operand: &Operand| match *operand {
        Operand::View(view) => {
            Matrix { column: view.column, stride: program.buffers[view.buffer as usize].width }
        }
        Operand::Input(input) => Matrix { column: 0, stride: program.inputs[input as usize].width },
        Operand::Weight(weight) => {
            let shape = &program.weights[weight as usize].shape;
            Matrix { column: 0, stride: shape.last().copied().unwrap_or(1) }
        }
    };
    step.operands.iter().map(matrix).collect()
}

/// The plan with a way's kernels in place of the program's.
fn put_together<'p>(
    (index, file): (&PlanIndex, &'p [u8]),
    at: usize,
    way: Way,
    compiled: Vec<Compiled>,
) -> Result<Retiled<'p>, TuneError> {
    let mut manifest = index.manifest.clone();
    // What an earlier table came to holds no longer.
    manifest.report.notes.retain(|note| !tuned::is_note(note));
    manifest.report.notes.extend(way.notes.iter().cloned());
    let mut programs = index.programs.clone();
    let mut weights = WeightTable::new();
    for weight in programs.iter_mut().flat_map(|program| &mut program.weights) {
        place(index, file, weight, &mut weights)?;
    }
    let mut modules = WeightTable::new();
    let section = &file[index.modules.clone()];
    for (i, program) in programs.iter_mut().enumerate() {
        let Some(mut code) = program.device.take() else { continue };
        if i == at {
            apart(program, &mut code, &way.launches);
        }
        let (specs, known) = (Vec::new(), BTreeMap::new());
        let table = Modules { section, modules: &mut modules, specs, known };
        program.device =
            Some(if i == at { table.tuned(code, &way, &compiled) } else { table.kept(code) });
    }
    let tokenizer = index.tokenizer.clone().map(|range| &file[range]);
    Ok(Retiled { manifest, programs, weights, modules, tokenizer })
}

/// Takes out the launches that do a step and its linear at once, where the linear's are about to be others.
fn apart(program: &Program, code: &mut DeviceCode, tuned: &BTreeMap<usize, Vec<(u64, usize)>>) {
    let first = |step: u32| {
        let taken = program.steps.get(step as usize).and_then(Step::takes_up);
        program.steps.iter().position(|other| Some(other.output) == taken)
    };
    code.by_rows.retain(|other| first(other.step).is_none_or(|first| !tuned.contains_key(&first)));
}

/// Gives a weight its place in the new plan.
fn place<'p>(
    index: &PlanIndex,
    file: &'p [u8],
    weight: &mut WeightSpec,
    table: &mut WeightTable<'p>,
) -> Result<(), TuneError> {
    let bytes = index.weight(weight).and_then(|range| file.get(range));
    let place = table.add(bytes.ok_or_else(|| TuneError::Weight { name: weight.name.clone() })?);
    (weight.offset, weight.bytes, weight.hash) = (place.offset, place.bytes, place.hash);
    Ok(())
}

/// What a launch's module was before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Was {
    /// One of the plan's.
    Old(u32),
    /// One of the sources that were rendered now.
    New(usize),
}

/// The modules of a program while it is put together.
struct Modules<'t, 'p> {
    section: &'p [u8],
    modules: &'t mut WeightTable<'p>,
    specs: Vec<ModuleSpec>,
    known: BTreeMap<Was, u32>,
}

impl Modules<'_, '_> {
    /// The program's code with new kernels for some steps.
    fn tuned(
        mut self,
        code: DeviceCode,
        Way { sources, launches, together, .. }: &Way,
        compiled: &[Compiled],
    ) -> DeviceCode {
        // A plan that was stripped of its PTX stays so.
        let strip = code.modules.iter().all(|module| module.ptx.is_none());
        let mut new = DeviceCode {
            arch: code.arch.clone(),
            modules: Vec::new(),
            launches: Vec::new(),
            by_rows: Vec::new(),
        };
        for (step, launch) in code.launches.iter().enumerate() {
            let at = step as u32;
            let mut ways = Vec::new();
            if let Some(chosen) = launches.get(&step) {
                for &(rows, source) in chosen {
                    let index = self.new_module(source, sources, compiled, strip);
                    ways.push((rows, steps::launch(&sources[source], index, launch.overlaps)));
                }
            } else {
                let others = code.by_rows.iter().filter(|other| other.step == at);
                let others = others.map(|other| (other.rows, other.launch.clone()));
                for (rows, mut launch) in [(0, launch.clone())].into_iter().chain(others) {
                    launch.module = self.old_module(launch.module, &code);
                    ways.push((rows, launch));
                }
            }
            let usual = ways[0].1.clone();
            for both in together {
                if both.first == step {
                    ways.extend(both.of_first(&usual));
                }
                if both.second == step {
                    let index = self.new_module(both.source, sources, compiled, strip);
                    let launch = steps::launch(&sources[both.source], index, usual.overlaps);
                    ways.extend(both.of_second(&usual, &launch));
                }
            }
            for (rows, launch) in ways {
                match rows {
                    0 => new.launches.push(launch),
                    _ => new.by_rows.push(FromRows { step: at, rows, launch }),
                }
            }
        }
        new.modules = self.specs;
        new
    }

    /// The program's code as it is.
    fn kept(mut self, mut code: DeviceCode) -> DeviceCode {
        for module in 0..code.modules.len() {
            self.old_module(module as u32, &code);
        }
        code.modules = self.specs;
        code
    }

    fn new_module(
        &mut self,
        source: usize,
        sources: &[Source],
        compiled: &[Compiled],
        strip: bool,
    ) -> u32 {
        let index = self.specs.len() as u32;
        *self.known.entry(Was::New(source)).or_insert_with(|| {
            let symbol = sources[source].symbol.clone();
            self.specs.push(module(symbol, compiled[source].clone(), strip, self.modules));
            index
        })
    }

    fn old_module(&mut self, old: u32, code: &DeviceCode) -> u32 {
        let index = self.specs.len() as u32;
        *self.known.entry(Was::Old(old)).or_insert_with(|| {
            let mut spec = code.modules[old as usize].clone();
            for image in spec.cubin.iter_mut().chain(&mut spec.ptx) {
                // The plan's check found them inside the section.
                let bytes = &self.section[image.offset as usize..][..image.bytes as usize];
                let place = self.modules.add(bytes);
                (image.offset, image.bytes, image.hash) = (place.offset, place.bytes, place.hash);
            }
            self.specs.push(spec);
            index
        })
    }
}
