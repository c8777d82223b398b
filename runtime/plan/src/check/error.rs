//! Every way for a program to break a rule, and where.

use std::fmt;

use crate::extent::Rows;
use crate::program::DType;

/// A broken rule and the part of the program that breaks it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct CheckError {
    /// The part of the program.
    pub place: Place,
    /// The rule.
    pub fault: Fault,
}

/// A part of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which table, such as `step`.
    pub table: &'static str,
    /// The index in the table; `None` for the program itself.
    pub index: Option<usize>,
    /// The name there, if the table has names.
    pub name: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.table)?;
        if let Some(index) = self.index {
            write!(f, " {index}")?;
        }
        match &self.name {
            // A name may be as long as the file: the message shows its beginning.
            Some(name) => write!(f, " `{}`", name.chars().take(80).collect::<String>()),
            None => Ok(()),
        }
    }
}

/// A rule that a program breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A name is empty or too long.
    #[error("expected a name of 1 to {max} bytes, found {found}")]
    NameLength {
        /// The most bytes.
        max: usize,
        /// Its bytes.
        found: usize,
    },
    /// A name is used twice in its table.
    #[error("expected a name of its own, found the name of {table} {other}")]
    NameTwice {
        /// The table.
        table: &'static str,
        /// The index that has the name.
        other: usize,
    },
    /// The program's buffers are not floats.
    #[error("expected buffers of a float type that its device has, found {found}")]
    BufferType {
        /// The type.
        found: &'static str,
    },
    /// A GPU program has not one launch for each step.
    #[error("expected one launch for each of {expected} steps, found {found}")]
    LaunchCount {
        /// The steps.
        expected: usize,
        /// The launches.
        found: usize,
    },
    /// Launches by rows out of order, twice the same, or from no rows on, which is every launch.
    #[error(
        "expected steps in order, and for each of them ascending rows from 1 on, found step {step} from {rows} rows on"
    )]
    RowsOrder {
        /// The step.
        step: u32,
        /// From how many rows on.
        rows: u64,
    },
    /// A step names a linear that computes its x, and none does.
    #[error(
        "expected operand 0 to be all that a linear gives whose operands come last, and that nothing else reads, found \
         another"
    )]
    Up,
    /// A step's launch has no blocks, and no other does its work.
    #[error(
        "expected blocks, or a step that names this one's linear and is launched otherwise from {rows} rows on as well"
    )]
    NoBlocks {
        /// From how many rows on.
        rows: u64,
    },
    /// A module has neither machine code nor PTX.
    #[error("expected a cubin or PTX, found neither")]
    NoImage,
    /// A size of a launch is zero or more than any GPU takes.
    #[error("{what}: expected 1 to {max}, found {found}")]
    LaunchSize {
        /// Which size.
        what: &'static str,
        /// The most.
        max: u32,
        /// The launch's.
        found: u32,
    },
    /// Boxes can't be copied of an operand.
    #[error(
        "operand {operand}: expected rows and heads of two-byte elements that begin at multiples of 16 bytes, and \
         columns within rows, for a tensor map; found rows of {stride} bytes with columns from byte {start} to {end}"
    )]
    Map {
        /// The operand.
        operand: usize,
        /// Bytes from one row to the next.
        stride: u64,
        /// Where the first column begins in a row.
        start: u64,
        /// Where the last column ends.
        end: u64,
    },
    /// A tensor map would not lie where kernels look for it.
    #[error(
        "expected tensor maps before all pointers among the arguments, found one after a pointer"
    )]
    MapAfterPointer,
    /// Samples bring f32 and i64 only.
    #[error("expected an input of f32 or i64, found {found}")]
    InputType {
        /// The type.
        found: &'static str,
    },
    /// The program gives nothing out.
    #[error("expected at least one output, found none")]
    NoOutputs,
    /// A symbol's smallest value is above its largest.
    #[error("expected its least value {min} to be at most its largest, found {max}")]
    SymbolRange {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// An index points past its table.
    #[error("expected an index of {table} below {len}, found {found}")]
    Index {
        /// The table.
        table: &'static str,
        /// Its length.
        len: usize,
        /// The index.
        found: u32,
    },
    /// An extent divides by zero.
    #[error("expected divisors above zero, found 0")]
    DivisorZero,
    /// Rows have no columns.
    #[error("expected rows of at least one column, found none")]
    NoColumns,
    /// A shape has another number of elements than its rows.
    #[error(
        "expected a shape of as many elements as its rows hold: {rows} in a sample of {sample}, found {shape}"
    )]
    ShapeElements {
        /// A sample's symbols.
        sample: String,
        /// Elements by rows.
        rows: u64,
        /// Elements by shape.
        shape: u64,
    },
    /// `below` on something other than integers, or no id is below it.
    #[error("expected an integer bound above zero on integers, found {below} on {dtype}")]
    Bound {
        /// The bound.
        below: u64,
        /// The type of the input.
        dtype: &'static str,
    },
    /// A default that the input's own bound refuses.
    #[error("expected a default from 0 to below {below}, found {default}")]
    Default {
        /// The bound.
        below: u64,
        /// The default.
        default: i64,
    },
    /// A tensor or a row has more bytes than 64 bits count.
    #[error("expected a size in bytes below 2^64, found a larger one")]
    TooLarge,
    /// Panels of no outputs, or of a weight that is no matrix.
    #[error(
        "expected panels of at least one output of a matrix, found panels of {width} of {rank} axes"
    )]
    Panels {
        /// Outputs of a panel.
        width: u32,
        /// The weight's axes.
        rank: usize,
    },
    /// A linear in int8 whose sums need not fit in 32 bits.
    #[error("expected a linear in int8 of at most {most} inputs, found {found}")]
    TooDeep {
        /// The most.
        most: u64,
        /// The linear's.
        found: u32,
    },
    /// A weight's bytes are not those of its shape, type and layout.
    #[error("expected {expected} bytes for its shape, type and layout, found {found}")]
    WeightBytes {
        /// By shape.
        expected: u64,
        /// What the entry says.
        found: u64,
    },
    /// A weight begins between two multiples of 256.
    #[error("expected an offset that is a multiple of {align}, found {found}")]
    WeightAlign {
        /// The alignment.
        align: u64,
        /// The offset.
        found: u64,
    },
    /// A weight reaches past the weight section.
    #[error(
        "expected to end inside its section of {section} bytes, found {bytes} bytes from {offset}"
    )]
    WeightEnd {
        /// Bytes of the section.
        section: u64,
        /// Where the weight begins.
        offset: u64,
        /// Its bytes.
        bytes: u64,
    },
    /// A weight's hash is not a BLAKE3 hash.
    #[error("expected a hash of 64 hexadecimal digits in lower case, found `{found}`")]
    WeightHash {
        /// The beginning of what is there.
        found: String,
    },
    /// A slot counts the same rows twice.
    #[error("expected one need for each kind of rows, found two for {rows}")]
    NeedTwice {
        /// The rows.
        rows: Rows,
    },
    /// A slot's row would end inside an element.
    #[error("expected bytes of a row that are a multiple of {element}, found {found}")]
    NeedBytes {
        /// Bytes of an element.
        element: u64,
        /// Bytes of a row.
        found: u64,
    },
    /// A buffer does not fit its slot.
    #[error("expected slot {slot} to have {expected} bytes for each of its rows, found {found}")]
    SlotTooSmall {
        /// The slot.
        slot: u32,
        /// Bytes of a row of the buffer.
        expected: u64,
        /// Bytes that the slot has for these rows; zero if it does not count them.
        found: u64,
    },
    /// A step writes a buffer that was written before.
    #[error(
        "expected to write a buffer of its own, found buffer {buffer} that step {other} writes"
    )]
    WrittenTwice {
        /// The buffer.
        buffer: u32,
        /// The earlier step.
        other: usize,
    },
    /// A buffer is read that no earlier step wrote.
    #[error("expected to read what an earlier step wrote, found buffer {buffer}")]
    Unwritten {
        /// The buffer.
        buffer: u32,
    },
    /// A step writes over a buffer that is still needed.
    #[error(
        "expected slot {slot} to be free, found buffer {live} in it, which is needed later or read here"
    )]
    Overlap {
        /// The slot.
        slot: u32,
        /// The buffer that is still needed.
        live: u32,
    },
    /// A view reaches past its buffer's columns.
    #[error(
        "operand {operand}: expected columns below {width}, found {columns} columns from {column}"
    )]
    ViewColumns {
        /// The operand.
        operand: usize,
        /// Columns of the buffer.
        width: u64,
        /// The first column.
        column: u64,
        /// How many.
        columns: u64,
    },
    /// A step has more or fewer operands than its kernel.
    #[error("expected {expected} operands for {kernel}, found {found}")]
    OperandCount {
        /// The kernel.
        kernel: &'static str,
        /// How many it has.
        expected: usize,
        /// How many the step has.
        found: usize,
    },
    /// An operand is of another sort than the kernel reads there.
    #[error("operand {operand}: expected {expected}, found {found}")]
    OperandSort {
        /// The operand.
        operand: usize,
        /// What the kernel reads.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// An operand has another element type.
    #[error("operand {operand}: expected elements of {}, found {}", .expected.name(), .found.name())]
    OperandType {
        /// The operand.
        operand: usize,
        /// What the kernel reads.
        expected: DType,
        /// What is there.
        found: DType,
    },
    /// An operand has other columns, or a weight other elements.
    #[error("operand {operand}: expected {expected} {unit}, found {found}")]
    OperandWidth {
        /// The operand.
        operand: usize,
        /// `columns` or `elements`.
        unit: &'static str,
        /// What the kernel reads.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// An operand has other rows.
    #[error("operand {operand}: expected {expected}, found {found}")]
    OperandRows {
        /// The operand.
        operand: usize,
        /// What the kernel reads.
        expected: Rows,
        /// What is there.
        found: Rows,
    },
    /// An order of elements has no axes, too many, an empty one, or not as many strides.
    #[error(
        "expected 1 to {max} axes, none of them empty, with a stride each, found extents {shape:?} and strides {strides:?}"
    )]
    Axes {
        /// The most axes.
        max: usize,
        /// The extents.
        shape: Vec<u32>,
        /// The strides.
        strides: Vec<u32>,
    },
    /// An order of elements has another number of them than the output's block.
    #[error("expected an order of {expected} elements, as many as a block of the output has, found {}", .found.map_or("2^64 or more".to_owned(), |n| n.to_string()))]
    BlockElements {
        /// Elements of a block of the output.
        expected: u64,
        /// Elements of the order.
        found: Option<u64>,
    },
    /// An order of elements reaches past the block that it reads.
    #[error("expected elements below {held}, as many as a block of the operand has, found {found}")]
    BlockReach {
        /// Elements of a block of the operand.
        held: u64,
        /// The last element that is read.
        found: u128,
    },
    /// A block is neither one row on both sides nor all rows of a sample.
    #[error(
        "operand {operand}: expected one row in and one out, or {expected} in every sample, found {found}"
    )]
    BlockRows {
        /// The operand.
        operand: usize,
        /// Rows of the block.
        expected: u32,
        /// The rows of a sample.
        found: Rows,
    },
    /// A join of nothing.
    #[error("expected at least one operand to join, found none")]
    NothingJoined,
    /// The parts of a join are not as many rows as its output.
    #[error("output: expected as many rows as all operands have, found {found}")]
    JoinedRows {
        /// The output's.
        found: Rows,
    },
    /// A weight has another shape.
    #[error("operand {operand}: expected a weight of shape {expected}, found {found:?}")]
    WeightShape {
        /// The operand.
        operand: usize,
        /// What the kernel reads.
        expected: String,
        /// What is there.
        found: Vec<u64>,
    },
    /// A weight has a layout that the kernel does not read.
    #[error("operand {operand}: expected a weight in row-major layout, found panels")]
    WeightLayout {
        /// The operand.
        operand: usize,
    },
    /// The output has other columns than the kernel writes.
    #[error("output: expected {expected} columns, found {found}")]
    OutputWidth {
        /// What the kernel writes.
        expected: u64,
        /// Columns of the buffer.
        found: u64,
    },
    /// The output has other rows than the kernel writes.
    #[error("output: expected one row a sample, found {found}")]
    OutputRows {
        /// Rows of the buffer.
        found: Rows,
    },
    /// Pooling of something that has one row a sample already.
    #[error("operand 0: expected ragged rows to pool, found one row a sample")]
    PoolRows,
    /// An embedding of nothing.
    #[error("expected at least one table, found none")]
    NoTables,
    /// Ids that may lie past a table.
    #[error(
        "operand {operand}: expected ids below {rows}, the rows of the table, found ids below {below}"
    )]
    IdsPastTable {
        /// The ids' operand.
        operand: usize,
        /// Rows of the table.
        rows: u64,
        /// The input's bound.
        below: u64,
    },
    /// Integers that index a table and have no bound.
    #[error("operand {operand}: expected an input with a bound on its ids, found none")]
    NoBound {
        /// The ids' operand.
        operand: usize,
    },
    /// Positions that may lie past a table.
    #[error(
        "operand {operand}: expected {expected} rows in the table, for the longest sample, found {found}"
    )]
    PositionsPastTable {
        /// The table's operand.
        operand: usize,
        /// The first position past the longest sample; `2^64 or more` if it is out of reach.
        expected: String,
        /// Rows of the table.
        found: u64,
    },
    /// A number of the kernel that must be finite is not, or one that must not be negative is.
    #[error("expected {what} to be finite{}, found {found}", if *.positive { " and not negative" } else { "" })]
    Number {
        /// Its name.
        what: &'static str,
        /// Whether it must not be negative.
        positive: bool,
        /// The number.
        found: String,
    },
    /// Attention without heads, or heads without columns.
    #[error(
        "expected at least one head of at least one column, found {heads} heads of {head_size}"
    )]
    NoHeads {
        /// Heads.
        heads: u32,
        /// Columns of a head.
        head_size: u32,
    },
    /// Heads that don't fall into groups that share keys and values.
    #[error("expected a group that divides {heads} heads, found {group}")]
    Groups {
        /// Heads.
        heads: u32,
        /// How many share one of keys and values.
        group: u32,
    },
    /// A bias by head with another number of slopes.
    #[error("expected a slope for each of {heads} heads, found {found}")]
    Slopes {
        /// Heads.
        heads: u32,
        /// Slopes.
        found: usize,
    },
    /// A disentangled bias with neither of its terms.
    #[error("expected a disentangled bias of one or two terms, found none")]
    NoTerms,
    /// A table without rows.
    #[error("operand {operand}: expected a table of at least one row, found none")]
    NoRows {
        /// The table's operand.
        operand: usize,
    },
    /// A rotation of columns that a head does not have, or not of pairs.
    #[error("expected an even number of columns to turn, from 2 to {head_size}, found {found}")]
    Turned {
        /// Columns of a head.
        head_size: u32,
        /// Columns turned.
        found: u32,
    },
    /// More rows before a row than rows in all.
    #[error("expected fewer rows before than the {size} in all, found {before}")]
    RowsBefore {
        /// Rows in all.
        size: u32,
        /// Rows before.
        before: u32,
    },
    /// A pointwise chain without instructions.
    #[error("expected at least one instruction, found none")]
    NoInstructions,
    /// An instruction reads itself or a later one.
    #[error("instruction {at}: expected to read an earlier instruction, found {found}")]
    LaterValue {
        /// The instruction.
        at: usize,
        /// What it reads.
        found: u32,
    },
    /// An instruction reads an operand that is not there.
    #[error("instruction {at}: expected an operand below {len}, found {found}")]
    InstrOperand {
        /// The instruction.
        at: usize,
        /// How many operands there are.
        len: usize,
        /// What it reads.
        found: u32,
    },
}
