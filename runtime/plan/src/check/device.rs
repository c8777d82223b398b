//! Device code: modules inside their section, launches that name what their steps have.

use super::{CheckError, Fault, at, check_hash, entry};
use crate::device::{Arg, Count, DeviceCode, FromRows, Image, Launch, Map, ModuleSpec, Of};
use crate::header::ALIGN;
use crate::program::{DType, Operand, Program, Step};

/// The most threads of a block, on every GPU.
const MAX_THREADS: u32 = 1024;
/// The most bytes of shared memory that any block can ask for.
const MAX_SHARED: u32 = 227 << 10;
/// The most rows of a box.
const MAX_BOX: u32 = 256;
/// What the rows of a matrix that boxes are copied of must begin at multiples of, in bytes.
const MAP_ALIGN: u64 = 16;
/// The most blocks along y and z.
const MAX_GRID: u32 = 65_535;

/// Whether a device can have buffers of this type: the CPU's are f32, a GPU's any float.
pub(super) fn runs_on(dtype: DType, device: Option<&DeviceCode>) -> bool {
    match dtype {
        DType::F32 => true,
        DType::F16 | DType::Bf16 => device.is_some(),
        DType::I64 | DType::I32 | DType::I8 => false,
    }
}

/// Checks a program's modules and launches. Steps must have been checked.
pub(super) fn check_code(program: &Program, section: u64) -> Result<(), CheckError> {
    let Some(code) = &program.device else { return Ok(()) };
    for (i, module) in code.modules.iter().enumerate() {
        check_module(module, section)
            .map_err(|fault| at("module", i, Some(&module.symbol), fault))?;
    }
    let (expected, found) = (program.steps.len(), code.launches.len());
    if expected != found {
        return Err(at("launch", found, None, Fault::LaunchCount { expected, found }));
    }
    for (i, (launch, step)) in code.launches.iter().zip(&program.steps).enumerate() {
        check_launch(launch, step, code, program)
            .map_err(|fault| at("launch", i, Some(&step.name), fault))?;
    }
    let mut last = None;
    for (i, FromRows { step, rows, launch }) in code.by_rows.iter().enumerate() {
        let here = |name, fault| at("launch by rows", i, name, fault);
        let of = entry(&program.steps, "steps", *step).map_err(|fault| here(None, fault))?;
        let name = Some(of.name.as_str());
        if *rows == 0 || last >= Some((*step, *rows)) {
            return Err(here(name, Fault::RowsOrder { step: *step, rows: *rows }));
        }
        last = Some((*step, *rows));
        let checked = match launch.has_blocks() {
            true => check_launch(launch, of, code, program),
            false => check_done_elsewhere(of.output, *rows, code, program),
        };
        checked.map_err(|fault| here(name, fault))?;
    }
    Ok(())
}

/// Checks that a step that reads an output, and names the linear that gives it, has a launch of its own from so many rows
/// on.
fn check_done_elsewhere(
    output: u32,
    rows: u64,
    code: &DeviceCode,
    program: &Program,
) -> Result<(), Fault> {
    let launched = code.by_rows.iter().filter(|other| other.rows == rows);
    let found = launched.filter(|other| other.launch.has_blocks()).any(|other| {
        let step = program.steps.get(other.step as usize);
        step.is_some_and(|step| step.takes_up() == Some(output))
    });
    if found { Ok(()) } else { Err(Fault::NoBlocks { rows }) }
}

fn check_module(module: &ModuleSpec, section: u64) -> Result<(), Fault> {
    if module.cubin.is_none() && module.ptx.is_none() {
        return Err(Fault::NoImage);
    }
    module.cubin.iter().chain(&module.ptx).try_for_each(|image| check_image(image, section))
}

fn check_image(image: &Image, section: u64) -> Result<(), Fault> {
    let Image { offset, bytes, hash } = image;
    if !offset.is_multiple_of(ALIGN) {
        return Err(Fault::WeightAlign { align: ALIGN, found: *offset });
    }
    if offset.checked_add(*bytes).is_none_or(|end| end > section) {
        return Err(Fault::WeightEnd { section, offset: *offset, bytes: *bytes });
    }
    check_hash(hash)
}

fn check_launch(
    launch: &Launch,
    step: &Step,
    code: &DeviceCode,
    program: &Program,
) -> Result<(), Fault> {
    entry(&code.modules, "modules", launch.module)?;
    let range = |what, max, found| match found {
        1.. if found <= max => Ok(()),
        _ => Err(Fault::LaunchSize { what, max, found }),
    };
    range("threads of a block", MAX_THREADS, launch.block)?;
    if launch.shared > MAX_SHARED {
        return Err(Fault::LaunchSize {
            what: "bytes of shared memory",
            max: MAX_SHARED,
            found: launch.shared,
        });
    }
    for (axis, count) in launch.grid.iter().enumerate() {
        match *count {
            Count::Fixed(blocks) => {
                range("blocks", if axis == 0 { u32::MAX } else { MAX_GRID }, blocks)?;
            }
            Count::Rows { per } | Count::Tiles { per } => range("rows of a block", u32::MAX, per)?,
            Count::Samples => {}
            Count::Resident { per, across } => {
                range("rows of a tile", u32::MAX, per)?;
                range("tiles of the same rows", u32::MAX, across)?;
            }
        }
    }
    let maps = launch.args.iter().take_while(|arg| matches!(arg, Arg::Map(_))).count();
    if launch.args[maps..].iter().any(|arg| matches!(arg, Arg::Map(_))) {
        return Err(Fault::MapAfterPointer);
    }
    for arg in &launch.args {
        match *arg {
            Arg::Output | Arg::Samples => {}
            Arg::Operand(operand) => entry(&step.operands, "operands", operand).map(|_| ())?,
            Arg::Places { operand, skip: _ } => check_ids(operand, step, program)?,
            Arg::Tiles { per } => range("rows of a tile", u32::MAX, per)?,
            Arg::Map(map) => {
                entry(&step.operands, "operands", map.operand)?;
                range("rows of a box", MAX_BOX, map.rows)?;
                range("heads of a box's operand", u32::MAX, map.heads.unwrap_or(1))?;
                check_map(map, step, program)?;
            }
            Arg::Rows(of) | Arg::Offsets(of) | Arg::Positions(of) | Arg::SampleOfRow(of) => {
                check_of(of, step)?;
            }
        }
    }
    Ok(())
}

/// Checks that copies can take boxes of an operand: rows and heads that begin at multiples of 16 bytes, and within rows
/// columns that are there.
fn check_map(map: Map, step: &Step, program: &Program) -> Result<(), Fault> {
    let operand = map.operand as usize;
    let element = program.dtype.bytes();
    let (stride, start) = map.stride_and_start(step, program).unwrap_or((0, 0));
    let end = map.width().saturating_mul(element).saturating_add(start);
    let head = if map.heads.is_some() { u64::from(map.columns) * element } else { 0 };
    let aligned = [stride, start, head].iter().all(|bytes| bytes.is_multiple_of(MAP_ALIGN));
    let right = element == 2 && aligned && map.columns > 0 && end <= stride;
    if right { Ok(()) } else { Err(Fault::Map { operand, stride, start, end }) }
}

/// The operand is an input of one integer a row.
fn check_ids(operand: u32, step: &Step, program: &Program) -> Result<(), Fault> {
    let found = match *entry(&step.operands, "operands", operand)? {
        Operand::Input(input) => {
            let input = entry(&program.inputs, "inputs", input)?;
            if input.dtype == DType::I64 && input.width == 1 {
                return Ok(());
            }
            "another input"
        }
        Operand::View(_) => "a view of a buffer",
        Operand::Weight(_) => "a weight",
    };
    let (operand, expected) = (operand as usize, "an input of one integer a row");
    Err(Fault::OperandSort { operand, expected, found })
}

fn check_of(of: Of, step: &Step) -> Result<(), Fault> {
    let Of::Operand(operand) = of else { return Ok(()) };
    match entry(&step.operands, "operands", operand)? {
        Operand::View(_) | Operand::Input(_) => Ok(()),
        Operand::Weight(_) => Err(Fault::OperandSort {
            operand: operand as usize,
            expected: "a view of a buffer or an input",
            found: "a weight",
        }),
    }
}
