//! The rules that a program keeps, so that a device can run it without looking left or right.
//!
//! 1. Every index points into its table; every divisor is above zero.
//! 2. Names of symbols, inputs and outputs are unique; all names are of bounded length.
//! 3. A weight lies inside the weight section, aligned, with as many bytes as its shape, type and layout say.
//! 4. A slot has room for every buffer in it.
//! 5. A buffer is written once, before it is read, and never over a buffer that is still needed: not one that the same
//!    step reads, nor one that is given out.
//! 6. A step's operands, weights and output have the sorts, types, columns and rows that its kernel names.
//! 7. Ids and positions can't lie past their tables.
//! 8. A shape has as many elements as its rows, where that can be told.
//! 9. A GPU program has one launch for each step, and maybe others for more rows of it, whose module lies inside the section of modules and whose blocks and
//!    arguments are of sorts that the step has.
//!
//! What depends on the batch stays with whoever makes it: symbols inside their ranges, extents that have a value, sizes
//! that fit, ids below their input's bound.

mod device;
mod error;
mod kernel;
mod memory;
mod sizes;

use std::collections::BTreeMap;

pub use self::error::{CheckError, Fault, Place};
use crate::extent::{Extent, Rows};
use crate::header::ALIGN;
use crate::program::{DType, InputSpec, Layout, OutputSpec, Program, WeightSpec};

/// The most bytes of a name.
pub const MAX_NAME: usize = 1024;

/// Bytes of the sections that a program points into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SectionSizes {
    /// Of the weights.
    pub weights: u64,
    /// Of the modules.
    pub modules: u64,
}

/// Checks the rules above for a program of a plan with sections of these sizes.
///
/// # Errors
///
/// The first rule that is broken, and where.
pub fn check(program: &Program, sections: SectionSizes) -> Result<(), CheckError> {
    check_names(program)?;
    let here =
        |fault| CheckError { place: Place { table: "program", index: None, name: None }, fault };
    if !device::runs_on(program.dtype, program.device.as_ref()) {
        return Err(here(Fault::BufferType { found: program.dtype.name() }));
    }
    if program.outputs.is_empty() {
        return Err(here(Fault::NoOutputs));
    }
    for (i, symbol) in program.symbols.iter().enumerate() {
        if symbol.min > symbol.max {
            let fault = Fault::SymbolRange { min: symbol.min, max: symbol.max };
            return Err(at("symbol", i, Some(&symbol.name), fault));
        }
    }
    for (i, extent) in program.extents.iter().enumerate() {
        check_extent(extent, program).map_err(|fault| at("extent", i, None, fault))?;
    }
    for (i, input) in program.inputs.iter().enumerate() {
        check_input(input, program).map_err(|fault| at("input", i, Some(&input.name), fault))?;
    }
    for (i, weight) in program.weights.iter().enumerate() {
        check_weight(weight, sections.weights)
            .map_err(|fault| at("weight", i, Some(&weight.name), fault))?;
    }
    memory::check_slots(program)?;
    for (i, output) in program.outputs.iter().enumerate() {
        check_output(output, program)
            .map_err(|fault| at("output", i, Some(&output.name), fault))?;
    }
    for (i, step) in program.steps.iter().enumerate() {
        kernel::check_step(step, program)
            .map_err(|fault| at("step", i, Some(&step.name), fault))?;
    }
    memory::check_lives(program)?;
    device::check_code(program, sections.modules)
}

fn at(table: &'static str, index: usize, name: Option<&str>, fault: Fault) -> CheckError {
    CheckError { place: Place { table, index: Some(index), name: name.map(str::to_owned) }, fault }
}

fn check_names(program: &Program) -> Result<(), CheckError> {
    fn names<T>(items: &[T], name: fn(&T) -> &String) -> Vec<&str> {
        items.iter().map(|item| name(item).as_str()).collect()
    }
    let unique = [
        ("symbol", names(&program.symbols, |symbol| &symbol.name)),
        ("input", names(&program.inputs, |input| &input.name)),
        ("output", names(&program.outputs, |output| &output.name)),
    ];
    let shared = [
        ("entry", vec![program.entry.as_str()]),
        ("target", vec![program.target.as_str()]),
        ("weight", names(&program.weights, |weight| &weight.name)),
        ("buffer", names(&program.buffers, |buffer| &buffer.name)),
        ("step", names(&program.steps, |step| &step.name)),
    ];
    for (table, names) in unique.iter().chain(&shared) {
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() || name.len() > MAX_NAME {
                let fault = Fault::NameLength { max: MAX_NAME, found: name.len() };
                return Err(at(table, i, Some(name), fault));
            }
        }
    }
    for (table, names) in &unique {
        let mut seen = BTreeMap::new();
        for (i, name) in names.iter().enumerate() {
            if let Some(other) = seen.insert(*name, i) {
                return Err(at(table, i, Some(name), Fault::NameTwice { table, other }));
            }
        }
    }
    Ok(())
}

/// The entry of a table, or the fault of pointing past it.
fn entry<'a, T>(items: &'a [T], table: &'static str, index: u32) -> Result<&'a T, Fault> {
    items.get(index as usize).ok_or(Fault::Index { table, len: items.len(), found: index })
}

fn check_extent(extent: &Extent, program: &Program) -> Result<(), Fault> {
    match extent {
        Extent::Fixed(_) => Ok(()),
        Extent::Symbol(symbol) => entry(&program.symbols, "symbols", *symbol).map(|_| ()),
        Extent::Sum(terms) => terms
            .iter()
            .flat_map(|term| &term.factors)
            .try_for_each(|factor| check_extent(factor, program)),
        Extent::CeilDiv(extent, divisor) | Extent::FloorDiv(extent, divisor) => {
            if *divisor == 0 {
                return Err(Fault::DivisorZero);
            }
            check_extent(extent, program)
        }
    }
}

fn check_rows(rows: Rows, program: &Program) -> Result<(), Fault> {
    match rows {
        Rows::PerSample => Ok(()),
        Rows::Ragged(extent) => entry(&program.extents, "extents", extent).map(|_| ()),
    }
}

fn check_input(input: &InputSpec, program: &Program) -> Result<(), Fault> {
    input.shape.iter().try_for_each(|extent| check_extent(extent, program))?;
    check_rows(input.rows, program)?;
    if input.width == 0 {
        return Err(Fault::NoColumns);
    }
    input.width.checked_mul(input.dtype.bytes()).ok_or(Fault::TooLarge)?;
    if !matches!(input.dtype, DType::F32 | DType::I64) {
        return Err(Fault::InputType { found: input.dtype.name() });
    }
    if let Some(below) = input.below {
        if input.dtype != DType::I64 || below == 0 {
            return Err(Fault::Bound { below, dtype: input.dtype.name() });
        }
        if let Some(default) = input.default
            && u64::try_from(default).map_or(true, |default| default >= below)
        {
            return Err(Fault::Default { below, default });
        }
    }
    sizes::check_shape(&input.shape, input.rows, input.width, program)
}

fn check_output(output: &OutputSpec, program: &Program) -> Result<(), Fault> {
    output.shape.iter().try_for_each(|extent| check_extent(extent, program))?;
    let buffer = entry(&program.buffers, "buffers", output.buffer)?;
    sizes::check_shape(&output.shape, buffer.rows, buffer.width, program)
}

fn check_weight(weight: &WeightSpec, section: u64) -> Result<(), Fault> {
    let found = weight.bytes;
    let expected = sizes::weight_bytes(weight)?;
    if found != expected {
        return Err(Fault::WeightBytes { expected, found });
    }
    let offset = weight.offset;
    if !offset.is_multiple_of(ALIGN) {
        return Err(Fault::WeightAlign { align: ALIGN, found: offset });
    }
    if offset.checked_add(found).is_none_or(|end| end > section) {
        return Err(Fault::WeightEnd { section, offset, bytes: found });
    }
    check_hash(&weight.hash)
}

fn check_hash(hash: &str) -> Result<(), Fault> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if hash.len() != 64 || !hash.bytes().all(digit) {
        return Err(Fault::WeightHash { found: hash.chars().take(80).collect() });
    }
    Ok(())
}

/// Whether a weight's elements lie as its shape says.
fn is_row_major(weight: &WeightSpec) -> bool {
    weight.layout == Layout::RowMajor
}
