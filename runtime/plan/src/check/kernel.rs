//! What each kernel asks of its operands and its output.

mod attention;
mod moved;

use self::attention::heads_width;
use super::sizes::{elements, most_rows};
use super::{Fault, entry, is_row_major};
use crate::extent::Rows;
use crate::kernel::{Broadcast, IdSource, Instr, Kernel};
use crate::program::{
    Buffer, DType, InputSpec, Layout, MOST_INT8_INPUTS, Operand, Program, Step, WeightSpec,
};

/// Checks a step by the rules of its kernel.
pub(super) fn check_step(step: &Step, program: &Program) -> Result<(), Fault> {
    let output = entry(&program.buffers, "buffers", step.output)?;
    let mut args = Args { step, program, output, next: 0 };
    match &step.kernel {
        Kernel::Embed { sources, width, eps } => args.embed(sources, *width, *eps),
        Kernel::Linear { n, k, bias, epilogue: _ } => {
            args.count(2 + usize::from(*bias))?;
            args.matrix(output.rows, u64::from(*k))?;
            let weight = args.linear_weight(*k)?;
            args.shape(weight, &[u64::from(*n), u64::from(*k)])?;
            if *bias {
                args.vector(u64::from(*n))?;
            }
            args.writes(u64::from(*n))
        }
        Kernel::LinearLayerNorm { n, k, bias, eps, up } => {
            number("eps", *eps, true)?;
            let ups = up.as_ref().map_or(0, |up| 2 + usize::from(up.bias));
            args.count(5 + usize::from(*bias) + ups)?;
            args.matrix(output.rows, u64::from(*k))?;
            let weight = args.linear_weight(*k)?;
            args.shape(weight, &[u64::from(*n), u64::from(*k)])?;
            if *bias {
                args.vector(u64::from(*n))?;
            }
            args.matrix(output.rows, u64::from(*n))?;
            args.vector(u64::from(*n))?;
            args.vector(u64::from(*n))?;
            if let Some(up) = up {
                args.matrix(output.rows, u64::from(up.k))?;
                let weight = args.linear_weight(up.k)?;
                args.shape(weight, &[u64::from(*k), u64::from(up.k)])?;
                if up.bias {
                    args.vector(u64::from(*k))?;
                }
                check_up(step, program)?;
            }
            args.writes(u64::from(*n))
        }
        Kernel::Attention { heads, head_size, group, scale, mask, bias, rotary } => {
            number("scale", *scale, false)?;
            args.attention([*heads, *head_size, *group], mask, bias, rotary.as_ref())
        }
        Kernel::Rotary { heads, head_size, rotary } => {
            let width = heads_width(*heads, *head_size)?;
            args.count(2)?;
            args.matrix(output.rows, width)?;
            args.rotary(*head_size, rotary, &[output.rows])?;
            args.writes(width)
        }
        Kernel::LayerNorm { width, eps, residual } => {
            number("eps", *eps, true)?;
            let width = u64::from(*width);
            args.count(3 + usize::from(*residual))?;
            args.matrix(output.rows, width)?;
            if *residual {
                args.matrix(output.rows, width)?;
            }
            args.vector(width)?;
            args.vector(width)?;
            args.writes(width)
        }
        Kernel::RmsNorm { width, eps } => {
            number("eps", *eps, true)?;
            args.count(2)?;
            args.matrix(output.rows, u64::from(*width))?;
            args.vector(u64::from(*width))?;
            args.writes(u64::from(*width))
        }
        Kernel::L2Normalize { width, eps } => {
            number("eps", *eps, true)?;
            args.count(1)?;
            args.matrix(output.rows, u64::from(*width))?;
            args.writes(u64::from(*width))
        }
        Kernel::Softmax { width } => {
            args.count(1)?;
            args.matrix(output.rows, u64::from(*width))?;
            args.writes(u64::from(*width))
        }
        Kernel::Pool { pooling: _, width, normalize } => {
            if let Some(eps) = normalize {
                number("normalize", *eps, true)?;
            }
            args.count(1)?;
            if args.columns(u64::from(*width))? == Rows::PerSample {
                return Err(Fault::PoolRows);
            }
            if output.rows != Rows::PerSample {
                return Err(Fault::OutputRows { found: output.rows });
            }
            args.writes(u64::from(*width))
        }
        Kernel::Unfold { width, size, before } => {
            if before >= size {
                return Err(Fault::RowsBefore { size: *size, before: *before });
            }
            if *width == 0 {
                return Err(Fault::NoColumns);
            }
            args.count(1)?;
            args.matrix(output.rows, u64::from(*width))?;
            args.writes(u64::from(*width) * u64::from(*size))
        }
        Kernel::Concat { groups, parts } => {
            args.count(parts.len())?;
            let mut width = 0u64;
            for part in parts {
                let columns = u64::from(*groups) * u64::from(part.columns);
                if columns == 0 {
                    return Err(Fault::NoColumns);
                }
                match part.weight {
                    true => args.vector(columns)?,
                    false => args.matrix(output.rows, columns)?,
                }
                width = width.saturating_add(columns);
            }
            match width {
                0 => Err(Fault::NoColumns),
                width => args.writes(width),
            }
        }
        Kernel::Permute { from, to, start, shape, strides } => {
            args.permute(*from, *to, *start, shape, strides)
        }
        Kernel::Join { width, parts } => args.join(u64::from(*width), parts),
        Kernel::Pointwise { width, operands, body } => {
            args.count(operands.len())?;
            for broadcast in operands {
                match broadcast {
                    Broadcast::Full => args.matrix(output.rows, u64::from(*width))?,
                    Broadcast::Row => args.vector(u64::from(*width))?,
                    Broadcast::Scalar => args.vector(1)?,
                    Broadcast::Sample => args.matrix(Rows::PerSample, u64::from(*width))?,
                    Broadcast::Place => args.places(u64::from(*width))?,
                }
            }
            check_body(body, operands.len())?;
            args.writes(u64::from(*width))
        }
    }
}

/// A step's operands, taken one after the other.
struct Args<'a> {
    step: &'a Step,
    program: &'a Program,
    output: &'a Buffer,
    next: usize,
}

impl<'a> Args<'a> {
    /// The step has this many operands. Asked before any is taken.
    fn count(&self, expected: usize) -> Result<(), Fault> {
        let found = self.step.operands.len();
        if found != expected {
            return Err(Fault::OperandCount { kernel: self.step.kernel.name(), expected, found });
        }
        Ok(())
    }

    fn take(&mut self) -> (usize, Operand) {
        let at = self.next;
        self.next += 1;
        (at, self.step.operands[at])
    }

    /// The next operand is packed floats with this many columns: a view, or a whole input. Gives its rows.
    fn columns(&mut self, expected: u64) -> Result<Rows, Fault> {
        let program = self.program;
        let (operand, value) = self.take();
        let (rows, found) = match value {
            Operand::View(view) => {
                let buffer = entry(&program.buffers, "buffers", view.buffer)?;
                let (width, column, columns) = (buffer.width, view.column, view.width);
                if column.checked_add(columns).is_none_or(|end| end > width) {
                    return Err(Fault::ViewColumns { operand, width, column, columns });
                }
                (buffer.rows, columns)
            }
            Operand::Input(input) => {
                let input = entry(&program.inputs, "inputs", input)?;
                // Floats of samples are f32, and become the program's type on their way to the device.
                if input.dtype != DType::F32 {
                    let (expected, found) = (program.dtype, input.dtype);
                    return Err(Fault::OperandType { operand, expected, found });
                }
                (input.rows, input.width)
            }
            Operand::Weight(_) => {
                let expected = "a view of a buffer or an input";
                return Err(Fault::OperandSort { operand, expected, found: "a weight" });
            }
        };
        if found != expected {
            return Err(Fault::OperandWidth { operand, unit: "columns", expected, found });
        }
        Ok(rows)
    }

    /// The next operand is packed floats with these rows and columns.
    fn matrix(&mut self, expected: Rows, width: u64) -> Result<(), Fault> {
        let operand = self.next;
        let found = self.columns(width)?;
        if found != expected {
            return Err(Fault::OperandRows { operand, expected, found });
        }
        Ok(())
    }

    /// The next operand is a weight of the program's type.
    fn weight(&mut self) -> Result<(usize, &'a WeightSpec), Fault> {
        self.weight_of(self.program.dtype)
    }

    /// The next operand is the weight of a linear: of the program's type, or for a processor bf16 in pairs or int8 in
    /// quads.
    fn linear_weight(&mut self, k: u32) -> Result<&'a WeightSpec, Fault> {
        let program = self.program;
        let layout = match self.step.operands[self.next] {
            Operand::Weight(weight) if program.device.is_none() => {
                Some(entry(&program.weights, "weights", weight)?.layout)
            }
            _ => None,
        };
        let dtype = match layout {
            Some(Layout::Pairs { .. }) => DType::Bf16,
            Some(Layout::Quads { .. }) if u64::from(k) > MOST_INT8_INPUTS => {
                return Err(Fault::TooDeep { most: MOST_INT8_INPUTS, found: k });
            }
            Some(Layout::Quads { .. }) => DType::I8,
            _ => program.dtype,
        };
        Ok(self.weight_of(dtype)?.1)
    }

    /// The next operand is a weight of this type.
    fn weight_of(&mut self, expected: DType) -> Result<(usize, &'a WeightSpec), Fault> {
        let program = self.program;
        let (operand, value) = self.take();
        let found = match value {
            Operand::Weight(weight) => {
                let weight = entry(&program.weights, "weights", weight)?;
                if weight.dtype != expected {
                    let found = weight.dtype;
                    return Err(Fault::OperandType { operand, expected, found });
                }
                return Ok((operand, weight));
            }
            Operand::View(_) => "a view of a buffer",
            Operand::Input(_) => "an input",
        };
        Err(Fault::OperandSort { operand, expected: "a weight", found })
    }

    /// The weight just taken has this shape.
    fn shape(&self, weight: &WeightSpec, expected: &[u64]) -> Result<(), Fault> {
        if weight.shape != expected {
            let operand = self.next - 1;
            let (expected, found) = (format!("{expected:?}"), weight.shape.clone());
            return Err(Fault::WeightShape { operand, expected, found });
        }
        Ok(())
    }

    /// The next operand is a weight of this many elements, one after the other.
    fn vector(&mut self, expected: u64) -> Result<(), Fault> {
        let (operand, weight) = self.weight()?;
        if !is_row_major(weight) {
            return Err(Fault::WeightLayout { operand });
        }
        let found = elements(weight)?;
        if found != expected {
            return Err(Fault::OperandWidth { operand, unit: "elements", expected, found });
        }
        Ok(())
    }

    /// The next operand is a table of rows of this many columns. Gives its operand and how many rows it has.
    fn table(&mut self, width: u64) -> Result<(usize, u64), Fault> {
        let (operand, weight) = self.weight()?;
        if !is_row_major(weight) {
            return Err(Fault::WeightLayout { operand });
        }
        match weight.shape.as_slice() {
            [rows, columns] if *columns == width => Ok((operand, *rows)),
            found => {
                let expected = format!("[any, {width}]");
                Err(Fault::WeightShape { operand, expected, found: found.to_vec() })
            }
        }
    }

    /// The next operand is an input of one integer a row.
    fn ids(&mut self) -> Result<(usize, &'a InputSpec), Fault> {
        let program = self.program;
        let (operand, value) = self.take();
        let found = match value {
            Operand::Input(input) => {
                let input = entry(&program.inputs, "inputs", input)?;
                if input.dtype != DType::I64 {
                    let (expected, found) = (DType::I64, input.dtype);
                    return Err(Fault::OperandType { operand, expected, found });
                }
                if input.width != 1 {
                    let (expected, found) = (1, input.width);
                    return Err(Fault::OperandWidth { operand, unit: "columns", expected, found });
                }
                if input.rows != self.output.rows {
                    let (expected, found) = (self.output.rows, input.rows);
                    return Err(Fault::OperandRows { operand, expected, found });
                }
                return Ok((operand, input));
            }
            Operand::View(_) => "a view of a buffer",
            Operand::Weight(_) => "a weight",
        };
        Err(Fault::OperandSort { operand, expected: "an input of integers", found })
    }

    /// The output has as many columns as the kernel writes.
    fn writes(&self, expected: u64) -> Result<(), Fault> {
        let found = self.output.width;
        if found != expected {
            return Err(Fault::OutputWidth { expected, found });
        }
        Ok(())
    }

    /// A table has a row for each of the longest sample's places, counted from `start`.
    fn positions(&self, operand: usize, rows: u64, start: u64) -> Result<(), Fault> {
        let most = most_rows(self.output.rows, self.program);
        let end = most.and_then(|most| most.checked_add(start));
        if end.is_none_or(|end| end > rows) {
            let expected = end.map_or("2^64 or more".to_owned(), |n| n.to_string());
            return Err(Fault::PositionsPastTable { operand, expected, found: rows });
        }
        Ok(())
    }

    fn embed(&mut self, sources: &[IdSource], width: u32, eps: Option<f32>) -> Result<(), Fault> {
        if sources.is_empty() {
            return Err(Fault::NoTables);
        }
        let width = u64::from(width);
        let inputs = sources.iter().filter(|source| source.has_ids()).count();
        let norm = if eps.is_some() { 2 } else { 0 };
        self.count(sources.len() + inputs + norm)?;
        for source in sources {
            let (table, rows) = self.table(width)?;
            match source {
                IdSource::Input => {
                    let (operand, ids) = self.ids()?;
                    let below = ids.below.ok_or(Fault::NoBound { operand })?;
                    if below > rows {
                        return Err(Fault::IdsPastTable { operand, rows, below });
                    }
                }
                IdSource::Position { start } => self.positions(table, rows, u64::from(*start))?,
                IdSource::Place { skip } => {
                    self.ids()?;
                    self.positions(table, rows, u64::from(*skip) + 1)?;
                }
            }
        }
        if let Some(eps) = eps {
            number("eps", eps, true)?;
            self.vector(width)?;
            self.vector(width)?;
        }
        self.writes(width)
    }
}

/// Checks that a step's x is all that the linear gives which the kernel's `up` tells of, that the step has its operands
/// behind its own, and that nothing else needs what it gives.
fn check_up(step: &Step, program: &Program) -> Result<(), Fault> {
    let (Kernel::LinearLayerNorm { bias, up: Some(up), .. }, Some(Operand::View(x))) =
        (&step.kernel, step.operands.first())
    else {
        return Err(Fault::Up);
    };
    let own = step.operands.get(5 + usize::from(*bias)..).unwrap_or_default();
    let is_up = |other: &Step| match &other.kernel {
        Kernel::Linear { n: _, k, bias, epilogue } => {
            other.output == x.buffer
                && *other.operands == *own
                && (*k, *bias, epilogue) == (up.k, up.bias, &up.epilogue)
        }
        _ => false,
    };
    let reads =
        |operand: &&Operand| matches!(operand, Operand::View(view) if view.buffer == x.buffer);
    let readers = program.steps.iter().flat_map(|step| &step.operands).filter(reads).count();
    let kept = program.outputs.iter().any(|output| output.buffer == x.buffer);
    let whole = entry(&program.buffers, "buffers", x.buffer)?.width == x.width;
    if whole && readers == 1 && !kept && program.steps.iter().any(is_up) {
        Ok(())
    } else {
        Err(Fault::Up)
    }
}

fn number(what: &'static str, value: f32, positive: bool) -> Result<(), Fault> {
    if !value.is_finite() || (positive && value < 0.0) {
        return Err(Fault::Number { what, positive, found: value.to_string() });
    }
    Ok(())
}

fn check_body(body: &[Instr], operands: usize) -> Result<(), Fault> {
    if body.is_empty() {
        return Err(Fault::NoInstructions);
    }
    for (at, instr) in body.iter().enumerate() {
        let reads = match *instr {
            Instr::Operand(found) => {
                if found as usize >= operands {
                    return Err(Fault::InstrOperand { at, len: operands, found });
                }
                [None, None]
            }
            Instr::Const(_) => [None, None],
            Instr::Unary(_, a) => [Some(a), None],
            Instr::Binary(_, a, b) => [Some(a), Some(b)],
        };
        for found in reads.into_iter().flatten() {
            if found as usize >= at {
                return Err(Fault::LaterValue { at, found });
            }
        }
    }
    Ok(())
}
