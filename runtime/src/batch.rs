//! Packed batches: samples of different sizes, one after the other, with the tables that say where each one lies.

use std::ops::Range;
use std::sync::Arc;

use bytec_plan::extent::{Extent, Rows};
use bytec_plan::program::{DType, InputSpec, Program};

use crate::arena::size_class;
use crate::engine::Engine;
use crate::error::{BatchError, SampleFault};
use crate::sample::{Elements, Sample, Tensor};

/// Samples for one program.
///
/// Symbols are bound from the shapes of each sample's tensors, and everything that depends on them (sizes, offsets,
/// totals) is worked out as the sample is pushed. A batch without samples is allowed, and gives outputs without samples.
#[derive(Clone, Debug)]
pub struct PackedBatch {
    program: Arc<Program>,
    samples: usize,
    /// `[samples][symbols]`
    dims: Vec<u64>,
    /// For each extent of the program, where each sample's rows begin, and the total.
    offsets: Vec<Vec<usize>>,
    /// For each extent, the most rows of a sample.
    most: Vec<usize>,
    inputs: Vec<Packed>,
    /// The sample being pushed: its symbols, and its rows for each extent.
    bound: Vec<Option<Binding>>,
    symbols: Vec<u64>,
    rows: Vec<usize>,
}

/// An input's elements for all samples.
#[derive(Clone, Debug)]
enum Packed {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

/// Where a symbol's value was found.
#[derive(Clone, Copy, Debug)]
struct Binding {
    value: u64,
    input: usize,
}

/// Where the rows of each sample lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets<'a>(Option<&'a [usize]>);

impl Offsets<'_> {
    /// A sample's rows.
    #[inline(always)]
    pub(crate) fn range(&self, sample: usize) -> Range<usize> {
        match self.0 {
            Some(offsets) => offsets[sample]..offsets[sample + 1],
            None => sample..sample + 1,
        }
    }

    /// The sample that has this row.
    pub(crate) fn sample(&self, row: usize) -> usize {
        match self.0 {
            Some(offsets) => offsets.partition_point(|start| *start <= row) - 1,
            None => row,
        }
    }
}

/// The places of a sample's ids: see [`IdSource::Place`](bytec_plan::kernel::IdSource::Place).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    skip: u32,
    /// The last place that was given.
    last: u32,
}

impl Places {
    /// Before a sample's first id.
    #[inline(always)]
    pub(crate) fn new(skip: u32) -> Places {
        Places { skip, last: skip }
    }

    /// The place of the next id. A sample has no more rows than 32 bits count.
    #[inline(always)]
    pub(crate) fn of(&mut self, id: i64) -> u32 {
        if id == i64::from(self.skip) {
            return self.skip;
        }
        self.last = self.last.wrapping_add(1);
        self.last
    }
}

impl PackedBatch {
    /// An empty batch for an engine's program.
    pub fn new(engine: &Engine) -> PackedBatch {
        PackedBatch::for_program(engine.shared_program())
    }

    /// An empty batch for a program that was checked by [`bytec_plan::check`].
    pub(crate) fn for_program(program: Arc<Program>) -> PackedBatch {
        let packed = |input: &InputSpec| match input.dtype {
            // The plan's check lets samples bring f32 and i64 only.
            DType::F32 | DType::F16 | DType::Bf16 | DType::I8 => Packed::F32(Vec::new()),
            DType::I64 | DType::I32 => Packed::I64(Vec::new()),
        };
        PackedBatch {
            samples: 0,
            dims: Vec::new(),
            offsets: vec![vec![0]; program.extents.len()],
            most: vec![0; program.extents.len()],
            inputs: program.inputs.iter().map(packed).collect(),
            bound: Vec::new(),
            symbols: Vec::new(),
            rows: Vec::new(),
            program,
        }
    }

    /// How many samples.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Takes all samples out and keeps the memory.
    pub fn clear(&mut self) {
        self.samples = 0;
        self.dims.clear();
        self.offsets.iter_mut().for_each(|offsets| offsets.truncate(1));
        self.most.fill(0);
        for input in &mut self.inputs {
            match input {
                Packed::F32(data) => data.clear(),
                Packed::I64(data) => data.clear(),
            }
        }
    }

    /// Adds a sample.
    ///
    /// # Errors
    /// What of the sample does not fit the program: unknown, repeated or missing inputs, another element type, rank or
    /// size, sizes that disagree or lie outside the model's limits, integers outside the table that they index. The
    /// batch is unchanged then.
    pub fn push(&mut self, sample: &Sample<'_>) -> Result<(), BatchError> {
        self.bind(sample)
            .and_then(|()| self.append(sample))
            .map_err(|fault| BatchError { sample: self.samples, fault })?;
        self.samples += 1;
        Ok(())
    }

    /// Rows of a sample.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn rows_of(&self, sample: usize, rows: Rows) -> usize {
        assert!(sample < self.samples, "the batch has this sample");
        self.offsets(rows).range(sample).len()
    }

    /// The most rows of the size class of [`rows`](Self::rows): batches of a class are launched alike.
    ///
    /// # Panics
    /// If the rows are not of the batch's program.
    pub fn class_rows(&self, rows: Rows) -> u64 {
        size_class(self.rows(rows)).map_or(u64::MAX, |rows| rows as u64)
    }

    /// Rows of all samples.
    ///
    /// # Panics
    /// If the rows are not of the batch's program.
    pub fn rows(&self, rows: Rows) -> usize {
        match rows {
            Rows::PerSample => self.samples,
            Rows::Ragged(extent) => {
                self.offsets[extent as usize].last().copied().unwrap_or_default()
            }
        }
    }

    /// The most rows of a sample.
    pub(crate) fn most_rows(&self, rows: Rows) -> usize {
        match rows {
            Rows::PerSample => self.samples.min(1),
            Rows::Ragged(extent) => self.most[extent as usize],
        }
    }

    /// Where the rows of each sample lie.
    pub(crate) fn offsets(&self, rows: Rows) -> Offsets<'_> {
        Offsets(match rows {
            Rows::PerSample => None,
            Rows::Ragged(extent) => Some(&self.offsets[extent as usize]),
        })
    }

    /// An input's floats; empty for integers.
    pub(crate) fn floats(&self, input: usize) -> &[f32] {
        match &self.inputs[input] {
            Packed::F32(data) => data,
            Packed::I64(_) => &[],
        }
    }

    /// An input's integers; empty for floats.
    pub(crate) fn integers(&self, input: usize) -> &[i64] {
        match &self.inputs[input] {
            Packed::I64(data) => data,
            Packed::F32(_) => &[],
        }
    }

    /// A sample's symbols.
    pub(crate) fn dims(&self, sample: usize) -> &[u64] {
        let symbols = self.program.symbols.len();
        &self.dims[sample * symbols..][..symbols]
    }

    /// The program that the batch is for.
    pub(crate) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Finds the sample's symbols and checks all that it brings. Changes nothing that outlives the push.
    fn bind(&mut self, sample: &Sample<'_>) -> Result<(), SampleFault> {
        let program = Arc::clone(&self.program);
        self.bound.clear();
        self.bound.resize(program.symbols.len(), None);
        for (at, tensor) in sample.tensors.iter().enumerate() {
            let (input, spec) = find(&program, tensor)?;
            if sample.tensors[..at].iter().any(|other| other.name == tensor.name) {
                return Err(SampleFault::Twice { input: spec.name.clone() });
            }
            check_tensor(&program, spec, tensor)?;
            for (axis, (extent, size)) in spec.shape.iter().zip(tensor.shape).enumerate() {
                if let Some(symbol) = plain_symbol(extent) {
                    bind_symbol(&program, &mut self.bound, symbol, input, axis, *size)?;
                }
            }
        }
        let missing = |spec: &&InputSpec| {
            spec.default.is_none() && sample.tensors.iter().all(|tensor| tensor.name != spec.name)
        };
        if let Some(spec) = program.inputs.iter().find(missing) {
            return Err(SampleFault::Missing { input: spec.name.clone() });
        }
        self.symbols.clear();
        for (symbol, bound) in self.bound.iter().enumerate() {
            self.symbols.push(bound.ok_or_else(|| unbound(&program, symbol))?.value);
        }
        for tensor in &sample.tensors {
            let (_, spec) = find(&program, tensor)?;
            for (axis, (extent, found)) in spec.shape.iter().zip(tensor.shape).enumerate() {
                if extent.eval(&self.symbols) != Some(*found) {
                    return Err(SampleFault::Axis {
                        input: spec.name.clone(),
                        axis,
                        expected: expectation(&program, extent, &self.symbols, &self.bound),
                        found: *found,
                    });
                }
            }
        }
        self.rows.clear();
        for (extent, offsets) in program.extents.iter().zip(&self.offsets) {
            let rows = extent.eval(&self.symbols).and_then(|rows| usize::try_from(rows).ok());
            let total = offsets.last().copied().unwrap_or_default();
            match rows.filter(|rows| total.checked_add(*rows).is_some()) {
                Some(rows) => self.rows.push(rows),
                None => return Err(too_large(&program, extent)),
            }
        }
        Ok(())
    }

    /// Appends the sample that was just bound.
    fn append(&mut self, sample: &Sample<'_>) -> Result<(), SampleFault> {
        let program = Arc::clone(&self.program);
        let mut appended = Ok(());
        for (at, spec) in program.inputs.iter().enumerate() {
            let tensor = sample.tensors.iter().find(|tensor| tensor.name == spec.name);
            appended = self
                .elements(spec, tensor)
                .and_then(|numbers| self.inputs[at].append(spec, tensor, numbers));
            if appended.is_err() {
                break;
            }
        }
        if appended.is_err() {
            // Inputs before the one that failed have grown already.
            for (at, spec) in program.inputs.iter().enumerate() {
                let rows = self.rows(spec.rows);
                self.inputs[at].truncate(rows * usize::try_from(spec.width).unwrap_or(usize::MAX));
            }
            return appended;
        }
        self.dims.extend_from_slice(&self.symbols);
        for ((offsets, most), rows) in self.offsets.iter_mut().zip(&mut self.most).zip(&self.rows) {
            let total = offsets.last().copied().unwrap_or_default();
            offsets.push(total + rows);
            *most = (*most).max(*rows);
        }
        Ok(())
    }

    /// Elements of an input for the sample that was just bound.
    fn elements(
        &self,
        spec: &InputSpec,
        tensor: Option<&Tensor<'_>>,
    ) -> Result<usize, SampleFault> {
        let width = usize::try_from(spec.width).ok();
        let expected = width
            .and_then(|width| self.sample_rows(spec.rows).checked_mul(width))
            .ok_or_else(|| SampleFault::TooLarge { what: format!("input `{}`", spec.name) })?;
        match tensor.map(|tensor| tensor.elements.len()) {
            Some(found) if found != expected => {
                Err(SampleFault::InputRows { input: spec.name.clone(), expected, found })
            }
            _ => Ok(expected),
        }
    }

    /// Rows of the sample that was just bound.
    fn sample_rows(&self, rows: Rows) -> usize {
        match rows {
            Rows::PerSample => 1,
            Rows::Ragged(extent) => self.rows[extent as usize],
        }
    }
}

impl Packed {
    /// Appends a sample's elements, or as many defaults.
    fn append(
        &mut self,
        spec: &InputSpec,
        tensor: Option<&Tensor<'_>>,
        numbers: usize,
    ) -> Result<(), SampleFault> {
        // `bind` has refused samples without an input that has no default.
        let default = spec.default.unwrap_or_default();
        let full = |_| SampleFault::TooLarge { what: format!("input `{}`", spec.name) };
        match self {
            Packed::F32(data) => {
                data.try_reserve(numbers).map_err(full)?;
                match tensor.map(|tensor| tensor.elements) {
                    Some(Elements::F32(x)) => data.extend_from_slice(x),
                    // `check_tensor` has refused integers.
                    Some(Elements::I64(_) | Elements::I32(_)) | None => {
                        data.resize(data.len() + numbers, default as f32);
                    }
                }
            }
            Packed::I64(data) => {
                data.try_reserve(numbers).map_err(full)?;
                match tensor.map(|tensor| tensor.elements) {
                    Some(Elements::I64(x)) => data.extend_from_slice(x),
                    Some(Elements::I32(x)) => data.extend(x.iter().map(|x| i64::from(*x))),
                    // `check_tensor` has refused floats.
                    Some(Elements::F32(_)) | None => data.resize(data.len() + numbers, default),
                }
            }
        }
        Ok(())
    }

    fn truncate(&mut self, numbers: usize) {
        match self {
            Packed::F32(data) => data.truncate(numbers),
            Packed::I64(data) => data.truncate(numbers),
        }
    }
}

/// The input of a tensor's name.
fn find<'p>(
    program: &'p Program,
    tensor: &Tensor<'_>,
) -> Result<(usize, &'p InputSpec), SampleFault> {
    let found = program.inputs.iter().enumerate().find(|(_, spec)| spec.name == tensor.name);
    found.ok_or_else(|| SampleFault::UnknownInput {
        expected: names(&program.inputs.iter().collect::<Vec<_>>()),
        found: tensor.name.to_owned(),
    })
}

fn names(inputs: &[&InputSpec]) -> String {
    inputs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Checks a tensor by itself: type, rank, elements, bounds.
fn check_tensor(
    program: &Program,
    spec: &InputSpec,
    tensor: &Tensor<'_>,
) -> Result<(), SampleFault> {
    let input = || spec.name.clone();
    let fits = match tensor.elements {
        Elements::I64(_) | Elements::I32(_) => spec.dtype == DType::I64,
        Elements::F32(_) => spec.dtype == DType::F32,
    };
    if !fits {
        let (expected, found) = (spec.dtype.name(), tensor.elements.dtype());
        return Err(SampleFault::DType { input: input(), expected, found });
    }
    if tensor.shape.len() != spec.shape.len() {
        let symbols = symbol_names(program);
        let axes: Vec<_> = spec.shape.iter().map(|extent| extent.display(&symbols)).collect();
        return Err(SampleFault::Rank {
            input: input(),
            expected: spec.shape.len(),
            shape: format!("[{}]", axes.join(", ")),
            found: tensor.shape.to_vec(),
        });
    }
    let elements = tensor.shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
    if elements != Some(tensor.elements.len() as u64) {
        let (shape, found) = (tensor.shape.to_vec(), tensor.elements.len());
        return Err(SampleFault::Elements { input: input(), shape, found });
    }
    if let Some(below) = spec.below {
        let outside = |x: i64| u64::try_from(x).map_or(true, |x| x >= below);
        let found = match tensor.elements {
            Elements::I64(x) => x.iter().position(|x| outside(*x)).map(|at| (at, x[at])),
            Elements::I32(x) => {
                x.iter().position(|x| outside((*x).into())).map(|at| (at, i64::from(x[at])))
            }
            Elements::F32(_) => None,
        };
        if let Some((position, found)) = found {
            return Err(SampleFault::Integer { input: input(), position, below, found });
        }
    }
    Ok(())
}

/// The symbol, if the extent is one by itself.
fn plain_symbol(extent: &Extent) -> Option<usize> {
    match extent {
        Extent::Symbol(symbol) => Some(*symbol as usize),
        Extent::Sum(terms) => match terms.as_slice() {
            [term] if term.coefficient == 1 && term.factors.len() == 1 => {
                plain_symbol(&term.factors[0])
            }
            _ => None,
        },
        Extent::Fixed(_) | Extent::CeilDiv(..) | Extent::FloorDiv(..) => None,
    }
}

/// Gives a symbol its value, or checks that it has it already.
fn bind_symbol(
    program: &Program,
    bound: &mut [Option<Binding>],
    symbol: usize,
    input: usize,
    axis: usize,
    found: u64,
) -> Result<(), SampleFault> {
    let spec = &program.symbols[symbol];
    let name = || program.inputs[input].name.clone();
    if let Some(binding) = bound[symbol] {
        if binding.value != found {
            let other = &program.inputs[binding.input].name;
            let expected = format!("{} = {} as in input `{other}`", spec.name, binding.value);
            return Err(SampleFault::Axis { input: name(), axis, expected, found });
        }
        return Ok(());
    }
    if found < spec.min || found > spec.max {
        return Err(SampleFault::Range {
            input: name(),
            axis,
            symbol: spec.name.clone(),
            min: spec.min,
            max: spec.max,
            found,
        });
    }
    bound[symbol] = Some(Binding { value: found, input });
    Ok(())
}

fn unbound(program: &Program, symbol: usize) -> SampleFault {
    let gives = |spec: &&InputSpec| spec.shape.iter().any(|e| plain_symbol(e) == Some(symbol));
    let inputs: Vec<_> = program.inputs.iter().filter(gives).collect();
    SampleFault::Unbound { symbol: program.symbols[symbol].name.clone(), inputs: names(&inputs) }
}

/// What an axis should be: `2*L = 14, with L = 7 as in input ids`.
fn expectation(
    program: &Program,
    extent: &Extent,
    symbols: &[u64],
    bound: &[Option<Binding>],
) -> String {
    let value = extent.eval(symbols).map_or_else(|| "no size".to_owned(), |n| n.to_string());
    if let Extent::Fixed(_) = extent {
        return value;
    }
    let bindings: Vec<_> = program
        .symbols
        .iter()
        .zip(bound)
        .filter_map(|(spec, bound)| {
            let bound = (*bound)?;
            let input = &program.inputs[bound.input].name;
            Some(format!("{} = {} as in input `{input}`", spec.name, bound.value))
        })
        .collect();
    let names = symbol_names(program);
    format!("{} = {value}, with {}", extent.display(&names), bindings.join(", "))
}

fn symbol_names(program: &Program) -> Vec<&str> {
    program.symbols.iter().map(|symbol| symbol.name.as_str()).collect()
}

fn too_large(program: &Program, extent: &Extent) -> SampleFault {
    SampleFault::TooLarge { what: format!("rows {}", extent.display(&symbol_names(program))) }
}
