//! Kinds of work that a profile counts apart.

macro_rules! classes {
    ($($(#[doc = $doc:literal])* $name:ident $text:literal)*) => {
        /// The kind of work an instruction does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Class { $($(#[doc = $doc])* $name),* }

        impl Class {
            /// Every class, in the order of the profile's table.
            pub const ALL: &[Class] = &[$(Class::$name),*];

            /// The name in tables and JSON.
            pub fn name(self) -> &'static str {
                match self { $(Class::$name => $text),* }
            }
        }
    };
}

classes! {
    /// Moves, packing and unpacking, address-space conversions.
    Move "move"
    /// Integer and bit operations.
    Integer "integer"
    /// Floating point other than the special functions, f16 and bf16 included.
    Float "float"
    /// Reciprocals, roots, exponentials, logarithms, sines, tanh and divisions.
    Special "special"
    /// Conversions between types.
    Convert "convert"
    /// Comparisons, selections and predicate logic.
    Compare "compare"
    /// Loads from global memory, generic ones included.
    LoadGlobal "load_global"
    /// Stores to global memory, generic ones included.
    StoreGlobal "store_global"
    /// Loads from shared memory.
    LoadShared "load_shared"
    /// Stores to shared memory.
    StoreShared "store_shared"
    /// Loads and stores of local memory.
    Local "local"
    /// Loads of parameters and constants.
    Constant "constant"
    /// Atomics and reductions in memory.
    Atomic "atomic"
    /// Asynchronous copies, their groups and waits.
    AsyncCopy "async_copy"
    /// `ldmatrix` and `movmatrix`.
    Matrix "matrix"
    /// Tensor-core instructions.
    Tensor "tensor"
    /// Shuffles, votes, matches and reductions within a warp.
    Warp "warp"
    /// Barriers and fences.
    Barrier "barrier"
    /// Branches and returns.
    Control "control"
}
