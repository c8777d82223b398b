//! The fundamental types of PTX.

use std::fmt;

use crate::parse::syntax::File;

macro_rules! types {
    ($($name:ident $text:literal $bytes:literal)*) => {
        /// A type as PTX writes it after a dot.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Ty { $($name),* }

        impl Ty {
            /// The type of a name without its dot.
            pub(crate) fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Ty::$name),)* _ => None }
            }

            /// Size in memory; a predicate has none.
            pub(crate) fn bytes(self) -> u64 {
                match self { $(Ty::$name => $bytes),* }
            }

            fn text(self) -> &'static str {
                match self { $(Ty::$name => $text),* }
            }
        }
    };
}

types! {
    Pred "pred" 0
    B8 "b8" 1  B16 "b16" 2  B32 "b32" 4  B64 "b64" 8  B128 "b128" 16
    U8 "u8" 1  U16 "u16" 2  U32 "u32" 4  U64 "u64" 8
    S8 "s8" 1  S16 "s16" 2  S32 "s32" 4  S64 "s64" 8
    F16 "f16" 2  F16x2 "f16x2" 4  Bf16 "bf16" 2  Bf16x2 "bf16x2" 4
    Tf32 "tf32" 4  F32 "f32" 4  F64 "f64" 8
}

impl Ty {
    pub(crate) fn bits(self) -> u32 {
        self.bytes() as u32 * 8
    }

    pub(crate) fn is_wide(self) -> bool {
        self.bytes() == 8
    }

    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Ty::S8 | Ty::S16 | Ty::S32 | Ty::S64)
    }

    pub(crate) fn is_integer(self) -> bool {
        self.is_signed() || matches!(self, Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64)
    }

    pub(crate) fn is_untyped(self) -> bool {
        matches!(self, Ty::B8 | Ty::B16 | Ty::B32 | Ty::B64 | Ty::B128)
    }

    pub(crate) fn is_float(self) -> bool {
        !self.is_integer() && !self.is_untyped() && self != Ty::Pred
    }

    pub(crate) fn is_packed(self) -> bool {
        matches!(self, Ty::F16x2 | Ty::Bf16x2)
    }

    /// The file in which a register of this type lives; none where it is not modelled.
    pub(crate) fn file(self) -> Option<File> {
        match self.bytes() {
            0 => Some(File::Pred),
            8 => Some(File::Wide),
            16 => None,
            _ => Some(File::Narrow),
        }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
