//! Floating-point instructions: f32, f64, f16 and bf16, single and packed.

use super::form::{Decoded, Form};
use crate::inst::{Class, Float1, Float2, FloatMode, Op, Round, Ty};
use crate::parse::ParseError;

impl Form<'_, '_, '_> {
    pub(super) fn float(&mut self) -> Option<Decoded> {
        Some(match self.opcode.base {
            "add" => self.float2(Float2::Add),
            "sub" => self.float2(Float2::Sub),
            "mul" => self.float2(Float2::Mul),
            "min" => self.float2(Float2::Min),
            "max" => self.float2(Float2::Max),
            "copysign" => self.float2(Float2::Copysign),
            "div" => self.division(),
            "neg" => self.float1(Float1::Neg),
            "abs" => self.float1(Float1::Abs),
            "rcp" => self.special(Float1::Rcp, Float1::RcpApprox),
            "sqrt" => self.special(Float1::Sqrt, Float1::SqrtApprox),
            "rsqrt" => self.approximate(Float1::RsqrtApprox),
            "ex2" => self.approximate(Float1::Ex2Approx),
            "lg2" => self.approximate(Float1::Lg2Approx),
            "tanh" => self.approximate(Float1::TanhApprox),
            "sin" => self.approximate(Float1::SinApprox),
            "cos" => self.approximate(Float1::CosApprox),
            "fma" => self.fma(),
            _ => return None,
        })
    }

    fn mode(&mut self) -> FloatMode {
        FloatMode {
            round: self.opcode.round().unwrap_or(Round::Nearest),
            ftz: self.opcode.take("ftz"),
            sat: self.opcode.take("sat"),
            relu: self.opcode.take("relu"),
            nan: self.opcode.take("NaN"),
        }
    }

    fn float_ty(&mut self, mode: FloatMode) -> Result<Ty, ParseError> {
        let ty = self.ty()?;
        self.require(ty.is_float() && ty != Ty::Tf32, "it takes floats")?;
        let half = !matches!(ty, Ty::F32 | Ty::F64);
        let nearest = mode.round == Round::Nearest;
        self.require(mode.round != Round::Away, "`.rna` is for conversions")?;
        self.require(ty == Ty::F32 || nearest, "directed rounding is modelled for .f32")?;
        self.require(ty != Ty::F64 || !(mode.ftz || mode.sat), "f64 takes no `.ftz` or `.sat`")?;
        self.require(half || !mode.relu, "`.relu` is for half types")?;
        let bf16 = matches!(ty, Ty::Bf16 | Ty::Bf16x2);
        self.require(!bf16 || !(mode.ftz || mode.sat), "bf16 takes no `.ftz` or `.sat`")?;
        Ok(ty)
    }

    fn float1(&mut self, op: Float1) -> Decoded {
        let mode = self.mode();
        let ty = self.float_ty(mode)?;
        self.float1_of(op, ty, mode, Class::Float)
    }

    fn float1_of(&mut self, op: Float1, ty: Ty, mode: FloatMode, class: Class) -> Decoded {
        self.count(2..=2)?;
        let d = self.target(0, ty)?;
        Ok((Op::Float1 { op, ty, mode, d, a: self.source(1, ty)? }, class))
    }

    fn special(&mut self, exact: Float1, approx: Float1) -> Decoded {
        let is_approx = self.opcode.take("approx");
        let mode = self.mode();
        let ty = self.float_ty(mode)?;
        self.require(matches!(ty, Ty::F32 | Ty::F64), "it takes .f32 and .f64")?;
        self.require(ty == Ty::F32 || !is_approx, "the approximate form is modelled for .f32")?;
        self.float1_of(if is_approx { approx } else { exact }, ty, mode, Class::Special)
    }

    fn approximate(&mut self, op: Float1) -> Decoded {
        let approx = self.opcode.take("approx");
        self.require(approx, "it needs `.approx`")?;
        let mode = self.mode();
        let ty = self.ty()?;
        let half = matches!(op, Float1::Ex2Approx | Float1::TanhApprox) && ty != Ty::F64;
        self.require(ty == Ty::F32 || half && ty.is_float() && ty != Ty::Tf32, "it takes .f32")?;
        self.float1_of(op, ty, mode, Class::Special)
    }

    fn division(&mut self) -> Decoded {
        let op = if self.opcode.take("approx") {
            Float2::DivApprox
        } else if self.opcode.take("full") {
            Float2::DivFull
        } else {
            Float2::Div
        };
        let mode = self.mode();
        let ty = self.float_ty(mode)?;
        self.require(
            ty == Ty::F32 || (ty == Ty::F64 && op == Float2::Div),
            "it takes .f32, and .f64 where correctly rounded",
        )?;
        self.float2_of(op, ty, mode, Class::Special)
    }

    fn float2(&mut self, op: Float2) -> Decoded {
        let mode = self.mode();
        let ty = self.float_ty(mode)?;
        let is_minmax = matches!(op, Float2::Min | Float2::Max);
        self.require(is_minmax || !mode.nan, "`.NaN` is for min and max")?;
        self.require(!mode.relu, "`.relu` is for fma and conversions")?;
        let copysign = op == Float2::Copysign;
        self.require(!copysign || matches!(ty, Ty::F32 | Ty::F64), "it takes .f32 and .f64")?;
        self.float2_of(op, ty, mode, Class::Float)
    }

    fn float2_of(&mut self, op: Float2, ty: Ty, mode: FloatMode, class: Class) -> Decoded {
        self.count(3..=3)?;
        let d = self.target(0, ty)?;
        let (a, b) = (self.source(1, ty)?, self.source(2, ty)?);
        Ok((Op::Float2 { op, ty, mode, d, a, b }, class))
    }

    pub(super) fn fma(&mut self) -> Decoded {
        let mode = self.mode();
        let ty = self.float_ty(mode)?;
        self.count(4..=4)?;
        let d = self.target(0, ty)?;
        let (a, b, c) = (self.source(1, ty)?, self.source(2, ty)?, self.source(3, ty)?);
        Ok((Op::Fma { ty, mode, d, a, b, c }, Class::Float))
    }
}
