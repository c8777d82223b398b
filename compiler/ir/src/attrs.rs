//! The values that an op's attributes can take, and how each is spelt in the text form.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::dim::Dim;

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

/// The shortest decimal that reads back to the same bits.
impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for Real {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Real).map_err(|_| format!("{text:?} is not a number"))
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

/// An attribute's type: how it is printed and read.
pub(crate) trait Attr: Sized {
    fn print(&self) -> String;
    fn parse(text: &str) -> Result<Self, String>;
}

macro_rules! attr_by_display {
    ($($t:ty),*) => {$(
        impl Attr for $t {
            fn print(&self) -> String {
                self.to_string()
            }
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|e| format!("{e}"))
            }
        }
    )*};
}

attr_by_display!(usize, i64, Real, UnaryFn, BinaryFn, ReduceFn, PoolKind, Dim, Expr);

/// A list prints as `[a, b]`.
impl<T: Attr> Attr for Vec<T> {
    fn print(&self) -> String {
        let items: Vec<_> = self.iter().map(Attr::print).collect();
        format!("[{}]", items.join(", "))
    }
    fn parse(text: &str) -> Result<Self, String> {
        let inner = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .ok_or_else(|| format!("{text:?} is not a list, expected [..]"))?;
        crate::text::split_top_level(inner).into_iter().map(T::parse).collect()
    }
}

/// An absent value prints as `none`.
impl<T: Attr> Attr for Option<T> {
    fn print(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Attr::print)
    }
    fn parse(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(None) } else { T::parse(text).map(Some) }
    }
}

impl FromStr for Expr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Err(format!("{text:?} is not an expression"))
    }
}
