//! The values that an op's attributes can take, and how each is spelt in the text form.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// A real number that compares and hashes by its bits, so that ops can be map keys.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Real {}

impl Hash for Real {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// The shortest decimal that reads back to the same bits; a NaN other than the usual one by its bits, `nan(0x..)`.
impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() && self.0.to_bits() != f64::NAN.to_bits() {
            return write!(f, "nan({:#x})", self.0.to_bits());
        }
        write!(f, "{:?}", self.0)
    }
}

macro_rules! named_enum {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// All of them, in the order of the table.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The name in the text form.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok($name::$variant),)*
                    _ => {
                        let names: Vec<_> = Self::ALL.iter().map(|v| v.name()).collect();
                        Err(format!("unknown {} {text:?}, expected one of {}", $what, names.join(", ")))
                    }
                }
            }
        }
    };
}

named_enum! {
    /// A function of one number, applied to every element.
    UnaryFn, "function" {
        /// `-x`
        Neg = "neg",
        /// `|x|`
        Abs = "abs",
        /// `e^x`
        Exp = "exp",
        /// `sqrt(x)`
        Sqrt = "sqrt",
        /// `1 / sqrt(x)`
        Rsqrt = "rsqrt",
        /// The Gauss error function.
        Erf = "erf",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// `1 / (1 + e^-x)`
        Sigmoid = "sigmoid",
        /// `max(x, 0)`
        Relu = "relu",
        /// `x * sigmoid(x)` (Elfwing et al. 2017).
        Silu = "silu",
        /// `x/2 * (1 + erf(x / sqrt 2))` (Hendrycks and Gimpel 2016, the exact form).
        GeluErf = "gelu_erf",
        /// `x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))` (the same paper's approximation).
        GeluTanh = "gelu_tanh",
        /// `x * sigmoid(1.702 x)` (the same paper's other approximation).
        QuickGelu = "quick_gelu",
        /// `max(x, 0)^2` (So et al. 2021).
        ReluSquared = "relu_squared",
        /// `min(max(x, 0), 6)` (Howard et al. 2017).
        Relu6 = "relu6",
        /// `x` where it is not negative, `0.01 x` elsewhere (Maas et al. 2013).
        LeakyRelu = "leaky_relu",
        /// `x * tanh(ln(1 + e^x))` (Misra 2019).
        Mish = "mish",
    }
}

named_enum! {
    /// A function of two numbers, applied element by element.
    BinaryFn, "function" {
        /// `a + b`
        Add = "add",
        /// `a - b`
        Sub = "sub",
        /// `a * b`
        Mul = "mul",
        /// `a / b`
        Div = "div",
        /// The larger; NaN if either is.
        Max = "max",
        /// The smaller; NaN if either is.
        Min = "min",
    }
}

named_enum! {
    /// What a reduction makes of an axis.
    ReduceFn, "reduction" {
        /// The arithmetic mean.
        Mean = "mean",
        /// The sum.
        Sum = "sum",
        /// The largest element; NaN if any is.
        Max = "max",
    }
}

named_enum! {
    /// How the rows of a sample become one row.
    PoolKind, "pooling" {
        /// The mean of all rows.
        Mean = "mean",
        /// The first row (the classification token).
        Cls = "cls",
        /// The elementwise maximum of all rows.
        Max = "max",
        /// The sum of all rows, divided by the square root of their number.
        MeanSqrtLen = "mean_sqrt_len_tokens",
        /// The mean of all rows, the first counted once, the second twice, and so on.
        WeightedMean = "weightedmean",
        /// The last row.
        Last = "lasttoken",
    }
}

/// The body of a generated pointwise op: an expression over its operands `x0`, `x1`, and constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// Operand number `i`, printed `x0`, `x1`, ...
    Arg(usize),
    /// A constant.
    Const(Real),
    /// A function of one expression.
    Unary(UnaryFn, Box<Expr>),
    /// A function of two expressions.
    Binary(BinaryFn, Box<Expr>, Box<Expr>),
}

/// The deepest nesting of an expression that the text form reads and [`crate::infer`] accepts.
pub const MAX_EXPR_DEPTH: usize = 256;

impl Expr {
    /// The levels of nesting: 1 for an operand or a constant.
    pub fn depth(&self) -> usize {
        match self {
            Expr::Arg(_) | Expr::Const(_) => 1,
            Expr::Unary(_, x) => 1 + x.depth(),
            Expr::Binary(_, a, b) => 1 + a.depth().max(b.depth()),
        }
    }

    /// How many operands it takes: one more than the highest that it names.
    pub fn arity(&self) -> usize {
        match self {
            Expr::Arg(i) => i.saturating_add(1),
            Expr::Const(_) => 0,
            Expr::Unary(_, x) => x.arity(),
            Expr::Binary(_, a, b) => a.arity().max(b.arity()),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Arg(i) => write!(f, "x{i}"),
            Expr::Const(value) => write!(f, "{value}"),
            Expr::Unary(function, x) => write!(f, "{function}({x})"),
            Expr::Binary(function, a, b) => write!(f, "{function}({a}, {b})"),
        }
    }
}
