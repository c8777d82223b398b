//! What rendering gives: text, and how to launch what it compiles to.

use bytec_plan::device::{Arg, Count};

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
    /// What was chosen and why, where there was a choice.
    pub note: Option<String>,
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
