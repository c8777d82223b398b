//! A bench for one kernel: its PTX, what the unmutated kernel gives for several batches, and the verdict on a mutant.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, anyhow, ensure};
use bytec_compiler::nvrtc::{Arch, Nvrtc};
use bytec_compiler::render::{Float, Source};
use bytec_plan::device::{Arg, Count};
use bytec_sim::{Device, FaultKind, Module, Profile};
use half::f16;

use super::cases::{Case, Operand};
use super::mutate::{self, Mutant};
use super::probe::probe;

/// Rows past the end of every ragged operand where a batch has a tail, and rows that every grid covers too many.
const PAST: usize = 9;

/// Branches that a warp may take: many times what the kernels take.
const BRANCHES: u64 = 20_000;

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This check saw it.
    Killed(&'static str),
    /// No check saw it; why not, as far as a program can tell.
    Survived(Reason),
}

/// Why no check saw a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// No lane comes to the line in any of the batches.
    NotReached,
    /// Wherever a lane comes to the statement, it does what the unmutated one does.
    Equivalent,
    /// The same bits in every batch, though the statement does something else.
    SameBits,
    /// Other bits, within the bound.
    WithinBound,
}

/// What a launch gave.
struct Outcome {
    bytes: Vec<u8>,
    profile: Profile,
}

/// Why a launch gave nothing.
struct Stopped {
    check: &'static str,
    text: String,
}

/// A kernel, its batches, and what it gives for them.
pub(crate) struct Bench {
    /// The whole batch.
    pub(crate) case: Case,
    /// The unmutated PTX.
    pub(crate) ptx: String,
    source: Source,
    batches: Vec<(Case, bool)>,
    expected: Vec<Outcome>,
}

impl Bench {
    /// Compiles a case and runs it unmutated.
    ///
    /// # Errors
    /// If the unmutated kernel faults, or gives one sample other bits alone or beside NaN than in the batch.
    pub(crate) fn new(case: Case, nvrtc: &Nvrtc) -> anyhow::Result<Self> {
        let source = case.source()?;
        let compiled = nvrtc.compile(&[(&source, Arch::SM_80)], None, &|_| {})?;
        let ptx = compiled.into_iter().next().context("one kernel compiles to one text")?.ptx;
        // Whole, in buffers that end with the last row; beside NaN, with a tail of NaN; a sample alone.
        let last = case.lengths.len() - 1;
        let batches =
            vec![(case.clone(), false), (case.beside_nan(1), true), (case.alone(last), true)];
        let mut bench = Self { case, ptx, source, batches, expected: Vec::new() };
        for batch in 0..bench.batches.len() {
            let outcome = bench.run(&bench.ptx, batch);
            let outcome = outcome.map_err(|stopped| anyhow!("{}", stopped.text))?;
            let conflicts = outcome.profile.extra_wavefronts;
            ensure!(conflicts == 0, "{}: {conflicts} bank conflicts", bench.source.symbol);
            bench.expected.push(outcome);
        }
        let bytes = bench.case.width * bench.case.dtype.bytes() as usize;
        let part = |outcome: &Outcome, sample: usize| {
            let rows = bench.case.output(sample);
            outcome.bytes[rows.start * bytes..rows.end * bytes].to_vec()
        };
        let whole = &bench.expected[0];
        for sample in (0..=last).filter(|sample| *sample != 1) {
            let same = part(whole, sample) == part(&bench.expected[1], sample);
            ensure!(same, "{}: NaN changes sample {sample}", bench.source.symbol);
        }
        let same = part(whole, last) == bench.expected[2].bytes;
        ensure!(same, "{}: sample {last} has other bits alone", bench.source.symbol);
        Ok(bench)
    }

    /// How often warps execute a line of the unmutated PTX, in all batches.
    pub(crate) fn executed(&self, line: usize) -> u64 {
        let lines = self.expected.iter().map(|outcome| &outcome.profile.lines);
        lines.map(|lines| lines.get(&(line as u32)).copied().unwrap_or(0)).sum()
    }

    /// Runs a mutant on each batch, until a check sees it.
    pub(crate) fn judge(&self, mutant: &Mutant) -> Verdict {
        let ptx = &mutate::apply(&self.ptx, mutant);
        let mut same_bits = true;
        for (batch, expected) in self.expected.iter().enumerate() {
            let ran = catch_unwind(AssertUnwindSafe(|| self.run(ptx, batch)));
            let outcome = match ran {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(stopped)) => return Verdict::Killed(stopped.check),
                Err(_) => return Verdict::Killed("simulator panicked"),
            };
            if outcome.bytes != expected.bytes {
                same_bits = false;
                if !near(self.case.dtype, &outcome.bytes, &expected.bytes) {
                    return Verdict::Killed("numbers");
                }
            }
            let (found, wanted) = (&outcome.profile, &expected.profile);
            if found.extra_wavefronts > 0 {
                return Verdict::Killed("bank conflicts");
            }
            if found.global_writes.bytes != wanted.global_writes.bytes {
                return Verdict::Killed("written once");
            }
        }
        Verdict::Survived(if self.executed(mutant.line) == 0 {
            Reason::NotReached
        } else if self.equivalent(mutant) {
            Reason::Equivalent
        } else if same_bits {
            Reason::SameBits
        } else {
            Reason::WithinBound
        })
    }

    /// Whether a mutant's statement does what the unmutated one does, each time in each batch.
    fn equivalent(&self, mutant: &Mutant) -> bool {
        if mutant.class.starts_with("wait") {
            // Without a copy there is nothing to wait for.
            let mut copies = self.ptx.lines().enumerate().filter(|(_, line)| {
                line.trim_start().starts_with("cp.async.c") && !line.contains("commit")
            });
            return copies.all(|(number, _)| self.executed(number + 1) == 0);
        }
        let probe = probe(&self.ptx, mutant);
        probe.is_some_and(|ptx| (0..self.batches.len()).all(|batch| self.run(&ptx, batch).is_ok()))
    }

    fn run(&self, ptx: &str, batch: usize) -> Result<Outcome, Stopped> {
        let (case, tail) = &self.batches[batch];
        let module = Module::parse(ptx).map_err(|error| stopped("refused", &error))?;
        let kernel = module.kernel(&self.source.symbol);
        let kernel = kernel.ok_or_else(|| stopped("refused", &"the kernel is gone"))?;
        let mut device = Device::sm_80();
        device.parallel = false;
        device.branch_limit = BRANCHES;
        let memory = |error: bytec_sim::MemoryError| stopped("host", &error);
        let size = case.dtype.bytes() as usize;
        let packed: usize = case.lengths.iter().sum();
        let rows = if case.pooled { case.lengths.len() } else { packed };
        let out_bytes = (rows * case.width * size) as u64;
        let out = device.alloc("out", out_bytes).map_err(memory)?;
        let mut upload = |name: String, bytes: &[u8], marks: &[std::ops::Range<u64>]| {
            let buffer = device.alloc(name, bytes.len() as u64)?;
            device.upload(buffer, 0, bytes)?;
            for mark in marks {
                device.mark(buffer, mark.clone())?;
            }
            Ok(buffer)
        };
        let mut operands = Vec::new();
        for (nth, operand) in case.operands.iter().enumerate() {
            let name = format!("operand {nth}");
            let (bytes, first, marks) = match operand {
                Operand::Weight(data) | Operand::Samples(data, _) => {
                    (encode(case.dtype, data), 0, Vec::new())
                }
                Operand::Ids(ids) => {
                    (ids.iter().flat_map(|id| id.to_le_bytes()).collect(), 0, Vec::new())
                }
                Operand::Rows(data, width, matrix) => {
                    // A view's rows in a wider buffer that is NaN elsewhere, and marked there.
                    let (stride, column) = (matrix.stride as usize, matrix.column as usize);
                    let past = if *tail { PAST } else { 0 };
                    let mut whole = vec![f64::NAN; (packed + past) * stride];
                    let mut marks = Vec::new();
                    let bytes = |element: usize| (element * size) as u64;
                    for row in 0..packed {
                        let (first, own) = (row * stride, row * stride + column);
                        whole[own..][..*width].copy_from_slice(&data[row * width..][..*width]);
                        marks.push(bytes(first)..bytes(own));
                        marks.push(bytes(own + width)..bytes(first + stride));
                    }
                    marks.push(bytes(packed * stride)..bytes((packed + past) * stride));
                    (encode(case.dtype, &whole), bytes(column), marks)
                }
            };
            operands.push((upload(name, &bytes, &marks).map_err(memory)?, first));
        }
        let args = self.source.args.iter().map(|arg| {
            let (buffer, first) = match *arg {
                Arg::Output => (out, 0),
                Arg::Operand(nth) => operands[nth as usize],
                arg => (upload(format!("{arg:?}"), &table(case, rows, arg), &[])?, 0),
            };
            Ok(bytec_sim::Arg::Pointer(buffer, first))
        });
        let args = args.collect::<Result<Vec<_>, _>>().map_err(memory)?;
        let launch = &self.source.launch;
        let grid = launch.grid.map(|count| blocks(case, rows, count));
        let profile = device
            .launch(kernel, grid, [launch.block, 1, 1], launch.shared, &args)
            .map_err(|fault| stopped(check(&fault.kind), &fault))?;
        let bytes = device.download(out, 0..out_bytes);
        let bytes = bytes.map_err(|error| stopped("output never written", &error))?;
        Ok(Outcome { bytes, profile })
    }
}

fn stopped(check: &'static str, why: &dyn std::fmt::Display) -> Stopped {
    Stopped { check, text: why.to_string() }
}

/// What the table calls the check that made a fault.
fn check(kind: &FaultKind) -> &'static str {
    match kind {
        FaultKind::OutOfBounds { .. } | FaultKind::Unallocated { .. } => "bounds",
        FaultKind::Misaligned { .. } => "alignment",
        FaultKind::Uninitialised { .. } => "never written",
        FaultKind::Race { .. } | FaultKind::StoreConflict { .. } => "race",
        FaultKind::BlockRace { .. } => "race of blocks",
        FaultKind::AsyncConflict { .. } | FaultKind::AsyncSource { .. } => "copy in flight",
        FaultKind::Taint { .. } => "marked value",
        FaultKind::DivergentBarrier { .. } | FaultKind::Barrier(_) => "barrier",
        FaultKind::MissingLanes { .. } | FaultKind::NotAMember { .. } => "lanes",
        FaultKind::Endless(_) => "endless",
        _ => "other fault",
    }
}

/// A table of the batch, as int32.
fn table(case: &Case, rows: usize, arg: Arg) -> Vec<u8> {
    let samples = 0..case.lengths.len();
    let lengths = case.lengths.iter().enumerate();
    let numbers: Vec<i64> = match arg {
        Arg::Rows(_) => vec![rows as i64],
        Arg::Samples => vec![case.lengths.len() as i64],
        Arg::Offsets(_) => {
            let ends = samples.map(|sample| case.rows(sample).end as i64);
            std::iter::once(0).chain(ends).collect()
        }
        Arg::Positions(_) => case.lengths.iter().flat_map(|length| 0..*length as i64).collect(),
        Arg::SampleOfRow(_) => {
            lengths.flat_map(|(sample, length)| vec![sample as i64; *length]).collect()
        }
        Arg::Tiles { per } => {
            let tiles = lengths.flat_map(|(sample, length)| {
                let firsts = (0..*length as i64).step_by(per as usize);
                firsts.flat_map(move |first| [sample as i64, first])
            });
            tiles.chain([-1, 0]).collect()
        }
        Arg::Output | Arg::Operand(_) => Vec::new(),
    };
    numbers.into_iter().flat_map(|number| (number as i32).to_le_bytes()).collect()
}

/// The blocks along an axis, with too many where the batch decides, as in a grid for a larger batch.
fn blocks(case: &Case, rows: usize, count: Count) -> u32 {
    match count {
        Count::Fixed(blocks) => blocks,
        Count::Rows { per } => ((rows + PAST) as u32).div_ceil(per) + 1,
        Count::Samples => case.lengths.len() as u32 + 1,
        Count::Tiles { per } => {
            case.lengths.iter().map(|rows| (*rows as u32).div_ceil(per)).sum::<u32>() + 1
        }
    }
}

fn encode(dtype: Float, numbers: &[f64]) -> Vec<u8> {
    match dtype {
        Float::F32 => numbers.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
        _ => numbers.iter().flat_map(|x| f16::from_f64(*x).to_le_bytes()).collect(),
    }
}

fn decode(dtype: Float, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        Float::F32 => {
            let chunks = bytes.chunks_exact(4);
            chunks.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect()
        }
        _ => {
            let chunks = bytes.chunks_exact(2);
            chunks.map(|b| f16::from_le_bytes([b[0], b[1]]).to_f64()).collect()
        }
    }
}

/// Whether every number is within twice the rounding of the largest one to the element type, 2e-6 of it in f32.
fn near(dtype: Float, found: &[u8], expected: &[u8]) -> bool {
    let (found, expected) = (decode(dtype, found), decode(dtype, expected));
    let finite = |x: &&f64| x.is_finite();
    let scale = expected.iter().filter(finite).fold(0.0, |most: f64, x| most.max(x.abs()));
    let bound = scale * if dtype == Float::F32 { 2e-6 } else { f64::powi(2.0, -11) * 2.0 };
    found.iter().zip(&expected).all(|(found, expected)| {
        found == expected
            || (found.is_nan() && expected.is_nan())
            || (found - expected).abs() <= bound
    })
}
