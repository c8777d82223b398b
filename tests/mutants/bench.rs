//! A bench for one kernel: its PTX, what the unmutated kernel gives for several batches, and the verdict on a mutant.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, anyhow, bail, ensure};
use bytec_compiler::nvrtc::Nvrtc;
use bytec_compiler::render::{Float, Source};
use bytec_plan::device::{Arg, Count, Map, Of, Span};
use bytec_sim::{Chain, Checks, Device, FaultKind, Module, Profile, Swizzle, TensorMap};
use half::f16;

use super::cases::{Case, Operand};
use super::mutate::{self, Mutant};
use super::oracle::{Near, oracle};
use super::reasons;
use super::shadow;

/// Rows past the end of every ragged operand where a batch has a tail, and rows that every grid covers too many.
const PAST: usize = 9;

/// Branches that a warp may take: many times what the kernels take.
const BRANCHES: u64 = 20_000;

/// The batches, in order: whole, in buffers that end with the last row; with NaN in one sample and in a tail; one sample
/// alone; and special numbers and sizes.
pub(crate) const BATCHES: [&str; 4] = ["whole", "beside NaN", "alone", "special"];

/// The name of the kill by a comparison of bits alone.
pub(crate) const BITS: &str = "recorded bits";

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
    /// Wherever a lane comes to the statement, all that is made of it is what the unmutated one gives.
    Equivalent,
    /// It is not seen for a reason that the page gives.
    Explained(&'static str),
    /// The same bits in every batch, though the statement does something else.
    SameBits,
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

/// A batch, whether rows of NaN follow it, and what it has to give.
struct Batch {
    case: Case,
    tail: bool,
    numbers: Vec<Near>,
    outcome: Option<Outcome>,
}

/// A kernel, its batches, and what it gives for them.
pub(crate) struct Bench {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// The unmutated PTX.
    pub(crate) ptx: String,
    /// Whether launches of it may overlap.
    overlaps: bool,
    source: Source,
    batches: Vec<Batch>,
}

impl Bench {
    /// Compiles a case and runs it unmutated.
    ///
    /// # Errors
    /// If the unmutated kernel faults, gives a number that is further from f64 than its bound, or gives one sample
    /// other bits alone or beside NaN than in the batch.
    pub(crate) fn new([usual, special]: [Case; 2], nvrtc: &Nvrtc) -> anyhow::Result<Self> {
        let source = usual.source()?;
        let compiled = nvrtc.compile(&[(&source, usual.arch)], None, &|_| {})?;
        let ptx = compiled.into_iter().next().context("one kernel compiles to one text")?.ptx;
        ensure!(special.source()?.text == source.text, "{}: two kernels", source.symbol);
        // In the order of `BATCHES`.
        let last = usual.lengths.len() - 1;
        let cases = [
            (usual.clone(), false),
            (usual.beside_nan(1), true),
            (usual.alone(last), true),
            (special, false),
        ];
        let batches = cases.map(|(case, tail)| {
            let numbers = oracle(&case);
            Batch { case, tail, numbers, outcome: None }
        });
        let mut bench = Self {
            name: usual.name,
            ptx,
            overlaps: usual.arch.capability() >= 90,
            source,
            batches: batches.into(),
        };
        let module = Module::parse(&bench.ptx)?;
        for (batch, batch_name) in BATCHES.iter().enumerate() {
            let outcome = bench.run(&module, batch, Checks::ALL);
            let outcome = outcome.map_err(|stopped| anyhow!("{}", stopped.text))?;
            let conflicts = outcome.profile.extra_wavefronts;
            ensure!(conflicts == 0, "{}: {conflicts} bank conflicts", bench.source.symbol);
            let far = bench.batches[batch].far(&outcome.bytes);
            if let Some(far) = far {
                bail!("{}, {batch_name}: {far}", bench.source.symbol);
            }
            bench.batches[batch].outcome = Some(outcome);
        }
        let bytes = usual.width * usual.dtype.bytes() as usize;
        let part = |batch: usize, sample: usize| {
            let rows = usual.output(sample);
            bench.bytes(batch)[rows.start * bytes..rows.end * bytes].to_vec()
        };
        for sample in (0..=last).filter(|sample| *sample != 1) {
            ensure!(
                part(0, sample) == part(1, sample),
                "{}: NaN changes sample {sample}",
                bench.source.symbol
            );
        }
        ensure!(
            part(0, last) == bench.bytes(2),
            "{}: sample {last} has other bits alone",
            bench.source.symbol
        );
        Ok(bench)
    }

    /// A case for `sm_90a`, without what it has to give.
    ///
    /// # Errors
    /// If the unmutated kernel faults where its launches overlap.
    #[cfg(test)]
    pub(crate) fn overlapping(case: Case, nvrtc: &Nvrtc) -> anyhow::Result<Self> {
        let case = Case { arch: bytec_compiler::nvrtc::Arch::SM_90A, ..case };
        let source = case.source()?;
        let compiled = nvrtc.compile(&[(&source, case.arch)], None, &|_| {})?;
        let ptx = compiled.into_iter().next().context("one kernel compiles to one text")?.ptx;
        let name = case.name;
        let batches = vec![Batch { case, tail: true, numbers: Vec::new(), outcome: None }];
        let bench = Self { name, ptx, overlaps: true, source, batches };
        match bench.check_of(&bench.ptx) {
            None => Ok(bench),
            Some(check) => bail!("{}: {check}", bench.source.symbol),
        }
    }

    /// The check that a text does not pass, on the first batch.
    #[cfg(test)]
    pub(crate) fn check_of(&self, ptx: &str) -> Option<&'static str> {
        match Module::parse(ptx) {
            Ok(module) => self.run(&module, 0, Checks::ALL).err().map(|stopped| stopped.check),
            Err(_) => Some("refused"),
        }
    }

    /// What the unmutated kernel gives for a batch.
    pub(crate) fn bytes(&self, batch: usize) -> &[u8] {
        self.batches[batch].outcome.as_ref().map_or(&[], |outcome| &outcome.bytes)
    }

    /// The line of CUDA that a line of the PTX comes from.
    pub(crate) fn cuda(&self, line: usize) -> &str {
        let line = reasons::cuda_line(&self.ptx, line);
        // Line 0 is code that comes from no line.
        let above = line.and_then(|line| line.checked_sub(1));
        above.and_then(|above| self.source.text.lines().nth(above)).unwrap_or_default()
    }

    /// How often warps execute a line of the unmutated PTX, in all batches.
    pub(crate) fn executed(&self, line: usize) -> u64 {
        let outcomes = self.batches.iter().filter_map(|batch| batch.outcome.as_ref());
        outcomes.map(|one| one.profile.lines.get(&(line as u32)).copied().unwrap_or(0)).sum()
    }

    /// Runs a mutant on each batch, until a check sees it.
    pub(crate) fn judge(&self, mutant: &Mutant) -> Verdict {
        let Ok(module) = Module::parse(&mutate::apply(&self.ptx, mutant)) else {
            return Verdict::Killed("refused");
        };
        let mut same_bits = true;
        for (nth, batch) in self.batches.iter().enumerate() {
            let Some(expected) = &batch.outcome else { continue };
            let ran = catch_unwind(AssertUnwindSafe(|| self.run(&module, nth, Checks::ALL)));
            let outcome = match ran {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(stopped)) => return Verdict::Killed(stopped.check),
                Err(_) => return Verdict::Killed("simulator panicked"),
            };
            if outcome.bytes != expected.bytes {
                same_bits = false;
                if batch.far(&outcome.bytes).is_some() {
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
        if !same_bits {
            return Verdict::Killed(BITS);
        }
        let (cuda, own) = (self.cuda(mutant.line), self.ptx.lines().nth(mutant.line - 1));
        Verdict::Survived(if self.executed(mutant.line) == 0 {
            Reason::NotReached
        } else if self.equivalent(mutant) {
            Reason::Equivalent
        } else if let Some(reason) = reasons::explained(cuda, own.unwrap_or_default(), mutant) {
            Reason::Explained(reason)
        } else {
            Reason::SameBits
        })
    }

    /// Whether all that is made of a mutant's statement is what the unmutated one gives, each time in each batch.
    fn equivalent(&self, mutant: &Mutant) -> bool {
        let own = self.ptx.lines().nth(mutant.line - 1).unwrap_or_default();
        if mutant.class.starts_with("wait")
            && ["cp.async.wait", "cp.async.commit"]
                .iter()
                .any(|start| own.trim_start().starts_with(start))
        {
            // Without a copy there is nothing to wait for.
            let mut copies = self.ptx.lines().enumerate().filter(|(_, line)| {
                line.trim_start().starts_with("cp.async.c") && !line.contains("commit")
            });
            return copies.all(|(number, _)| self.executed(number + 1) == 0);
        }
        let Some(ptx) = shadow::beside(&self.ptx, mutant) else { return false };
        let Ok(module) = Module::parse(&ptx) else { return false };
        (0..self.batches.len()).all(|batch| self.run(&module, batch, Checks::NONE).is_ok())
    }

    fn run(&self, module: &Module, batch: usize, checks: Checks) -> Result<Outcome, Stopped> {
        let Batch { case, tail, .. } = &self.batches[batch];
        let kernel = module.kernel(&self.source.symbol);
        let kernel = kernel.ok_or_else(|| stopped("refused", &"the kernel is gone"))?;
        let hopper = self.source.args.iter().any(|arg| matches!(arg, Arg::Map(_)));
        let mut device = if hopper { Device::sm_90() } else { Device::sm_80() };
        device.parallel = false;
        device.checks = checks;
        device.branch_limit = BRANCHES;
        let memory = |error: bytec_sim::MemoryError| stopped("host", &error);
        let size = case.dtype.bytes() as usize;
        let rows_out: usize = case.given.iter().sum();
        let out_bytes = (rows_out * case.width * size) as u64;
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
                Operand::Floats(data) => (encode(Float::F32, data), 0, Vec::new()),
                Operand::Ids(ids) | Operand::Index(ids) => {
                    (ids.iter().flat_map(|id| id.to_le_bytes()).collect(), 0, Vec::new())
                }
                Operand::Rows(data, width, matrix) | Operand::Keys(data, width, matrix) => {
                    // A view's rows in a wider buffer that is NaN elsewhere, and marked there.
                    let (stride, column) = (matrix.stride as usize, matrix.column as usize);
                    let (past, packed) = (if *tail { PAST } else { 0 }, data.len() / width);
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
                Arg::Map(map) => {
                    let (buffer, column) = operands[map.operand as usize];
                    let past = if *tail { PAST } else { 0 };
                    let address = buffer.address() + column;
                    return Ok(bytec_sim::Arg::Bytes(tensor_map(case, map, address, past)));
                }
                arg => (upload(format!("{arg:?}"), &table(case, arg), &[])?, 0),
            };
            Ok(bytec_sim::Arg::Pointer(buffer, first))
        });
        let args = args.collect::<Result<Vec<_>, _>>().map_err(memory)?;
        let launch = &self.source.launch;
        let cluster = if self.ptx.contains(".reqnctapercluster 2") { 2 } else { 1 };
        let grid = launch.grid.map(|count| blocks(case, rows_out, count, cluster));
        let shape = (grid, [launch.block, 1, 1]);
        let mut chain = Chain::default();
        let launch = |chain: &mut Chain, device: &mut Device| {
            device
                .launch_behind(chain, kernel, shape, launch.shared, &args)
                .map_err(|fault| stopped(check(&fault.kind), &fault))
        };
        let mut profile = launch(&mut chain, &mut device)?;
        if self.overlaps {
            // Once more, over the same memory: now it may begin while the first still runs.
            device.birth(out, 0..out_bytes).map_err(memory)?;
            profile = launch(&mut chain, &mut device)?;
        }
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
        FaultKind::Overlap { .. } | FaultKind::Unwaited { .. } | FaultKind::Constant { .. } => {
            "launches that overlap"
        }
        FaultKind::Unfinished { .. } => "operation in flight",
        FaultKind::RegisterInFlight { .. } | FaultKind::RegisterFence => "registers in flight",
        FaultKind::ProxyFence { .. } => "proxy fence",
        FaultKind::Mbarrier(_) | FaultKind::MbarrierAccess { .. } => "mbarrier",
        FaultKind::Wgmma(_) => "descriptor",
        FaultKind::ClusterRace { .. } => "race in a cluster",
        FaultKind::NotBegun { .. } | FaultKind::Returned { .. } | FaultKind::Outlived { .. } => {
            "block gone"
        }
        FaultKind::Taint { .. } => "marked value",
        FaultKind::DivergentBarrier { .. } | FaultKind::Barrier(_) => "barrier",
        FaultKind::MissingLanes { .. } | FaultKind::NotAMember { .. } => "lanes",
        FaultKind::Endless(_) => "endless",
        _ => "other fault",
    }
}

/// What stands for an operand's matrix, with so many rows past its own.
fn tensor_map(case: &Case, map: Map, address: u64, past: usize) -> Vec<u8> {
    let columns = u64::from(map.columns);
    let (rows, stride) = match &case.operands[map.operand as usize] {
        Operand::Rows(data, width, matrix) | Operand::Keys(data, width, matrix) => {
            (data.len() / width + past, matrix.stride)
        }
        operand => (operand.data().len() / map.columns as usize, columns),
    };
    let swizzle = match map.span {
        Span::Bytes32 => Swizzle::Bytes32,
        Span::Bytes64 => Swizzle::Bytes64,
        Span::Bytes128 => Swizzle::Bytes128,
    };
    let across = map.span.bytes() / 2;
    let (extents, strides, boxes) = match map.heads {
        None => (vec![columns, rows as u64], vec![2 * stride], vec![across, map.rows]),
        Some(heads) => (
            vec![columns, heads.into(), rows as u64],
            vec![2 * columns, 2 * stride],
            vec![across, 1, map.rows],
        ),
    };
    let map = TensorMap { address, element: 2, extents, strides, boxes, swizzle };
    let words = map.encode().expect("the kernel takes only matrices that copies take");
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// Rows of each sample, of the output or of an operand.
fn rows_of(case: &Case, of: Of) -> &[usize] {
    match of {
        Of::Output => &case.given,
        Of::Operand(nth) => match case.operands[nth as usize] {
            Operand::Keys(..) => &case.keys,
            _ => &case.lengths,
        },
    }
}

/// A table of the batch, as int32.
fn table(case: &Case, arg: Arg) -> Vec<u8> {
    let rows = |of| rows_of(case, of).iter().map(|rows| *rows as i64).enumerate();
    let numbers: Vec<i64> = match arg {
        Arg::Rows(of) => vec![rows(of).map(|(_, rows)| rows).sum()],
        Arg::Samples => vec![case.lengths.len() as i64],
        Arg::Offsets(of) => {
            let ends = rows(of).scan(0, |end, (_, rows)| {
                *end += rows;
                Some(*end)
            });
            std::iter::once(0).chain(ends).collect()
        }
        Arg::Positions(of) => rows(of).flat_map(|(_, rows)| 0..rows).collect(),
        Arg::SampleOfRow(of) => {
            rows(of).flat_map(|(sample, rows)| vec![sample as i64; rows as usize]).collect()
        }
        Arg::Tiles { per } => {
            let tiles = rows(Of::Output).flat_map(|(sample, rows)| {
                (0..rows).step_by(per as usize).flat_map(move |first| [sample as i64, first])
            });
            tiles.chain([-1, 0]).collect()
        }
        Arg::Places { .. } => panic!("no case here counts ids"),
        Arg::Output | Arg::Operand(_) | Arg::Map(_) => Vec::new(),
    };
    numbers.into_iter().flat_map(|number| (number as i32).to_le_bytes()).collect()
}

/// The blocks along an axis, with too many where the batch decides, as in a grid for a larger batch.
fn blocks(case: &Case, rows: usize, count: Count, cluster: u32) -> u32 {
    match count {
        Count::Fixed(blocks) => blocks,
        Count::Rows { per } => ((rows + PAST) as u32).div_ceil(per) + 1,
        Count::Samples => case.lengths.len() as u32 + 1,
        // One block, or one cluster, that stays for all there is to do.
        Count::Resident { .. } => cluster,
        Count::Tiles { per } => {
            case.given.iter().map(|rows| (*rows as u32).div_ceil(per)).sum::<u32>() + 1
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

impl Batch {
    /// The first number that is further from its reference than it may be, in words.
    fn far(&self, found: &[u8]) -> Option<String> {
        let found = decode(self.case.dtype, found);
        if found.len() != self.numbers.len() {
            return Some(format!("{} numbers, expected {}", found.len(), self.numbers.len()));
        }
        let mut pairs = found.iter().zip(&self.numbers).enumerate();
        let (at, (found, near)) = pairs.find(|(_, (found, near))| !near.allows(**found))?;
        let (row, column) = (at / self.case.width, at % self.case.width);
        Some(format!("row {row}, column {column} is {found}, expected {near:?}"))
    }
}
