//! What rendering gives: text, and how to launch what it compiles to.

/// CUDA text of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The kernel's symbol in the text, such as `layer_norm_384_f16`.
    pub symbol: String,
    /// The text.
    pub text: String,
    /// The template that it is made of.
    pub template: &'static str,
    /// For each line of the text, where in the templates it comes from.
    pub places: Vec<Place>,
    /// Grid and block.
    pub launch: Launch,
    /// What each argument is, in the order of the kernel's parameters.
    pub args: Vec<Arg>,
}

/// A line of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The template or library file, such as `lib/reduce.cuh`.
    pub file: &'static str,
    /// Counted from one.
    pub line: u32,
}

/// How a kernel is launched. The blocks depend on the batch; all else is the text's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks along x, y and z.
    pub grid: [Count; 3],
    /// Threads of a block, along x.
    pub block: u32,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
}

/// How many blocks there are along an axis. A grid may be larger: blocks past the batch's end do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// The same for every batch.
    Fixed(u32),
    /// One for every `per` rows of the output, and one for those that are left.
    Rows {
        /// Rows of one block.
        per: u32,
    },
    /// One a sample.
    Samples,
    /// For each sample one for every `per` rows of its output, and one for those that are left.
    Tiles {
        /// Rows of one block.
        per: u32,
    },
}

/// One argument of a kernel: a pointer into the arena, the weights, the inputs, or the batch's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// The first element of the output.
    Output,
    /// The first element of the step's operand of this index: a view's first column, a weight, or an input.
    Operand(u32),
    /// `const int*`: how many rows the value has, as one number.
    Rows(Of),
    /// `const int*`: how many samples the batch has, as one number.
    Samples,
    /// `const int*`: the row at which each sample begins, and at last the count of rows; samples + 1 numbers.
    Offsets(Of),
    /// `const int*`: for each row its place in its own sample, from zero.
    Positions(Of),
    /// `const int*`: for each row the index of its sample.
    SampleOfRow(Of),
    /// `const int2*`: for each block of [`Count::Tiles`] with the same `per`, its sample and the first of its rows,
    /// counted in the sample. Blocks past the last tile have -1 as their sample.
    Tiles {
        /// Rows of one tile.
        per: u32,
    },
}

/// Whose rows a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The output's.
    Output,
    /// Those of the step's operand of this index.
    Operand(u32),
}
