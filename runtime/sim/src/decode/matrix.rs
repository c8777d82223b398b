//! Tensor-core instructions and the loads that feed them.

use super::form::{Decoded, Form};
use crate::inst::{Class, Mma, Op, Space, Ty};
use crate::parse::ParseError;

impl Form<'_, '_, '_> {
    pub(super) fn matrix(&mut self) -> Option<Decoded> {
        Some(match self.opcode.base {
            "ldmatrix" => self.ldmatrix(),
            "movmatrix" => self.movmatrix(),
            "mma" => self.mma(),
            _ => return None,
        })
    }

    fn aligned(&mut self) -> Result<(), ParseError> {
        let both = self.opcode.take("sync") && self.opcode.take("aligned");
        self.require(both, "it needs `.sync.aligned`")
    }

    fn ldmatrix(&mut self) -> Decoded {
        self.aligned()?;
        let shape = self.opcode.take("m8n8");
        self.require(shape, "the simulator knows `.m8n8`")?;
        let count = [("x1", 1), ("x2", 2), ("x4", 4)]
            .into_iter()
            .find_map(|(name, count)| self.opcode.take(name).then_some(count));
        let count = count.ok_or_else(|| self.unknown("it needs `.x1`, `.x2` or `.x4`"))?;
        let transposed = self.opcode.take("trans");
        let space = self.opcode.space();
        self.require(space == Space::Shared, "it loads from shared memory")?;
        let ty = self.ty()?;
        self.require(ty == Ty::B16, "the simulator knows `.b16`")?;
        self.count(2..=2)?;
        let d = self.targets(0, count)?;
        Ok((Op::LdMatrix { d, transposed, address: self.address(1)? }, Class::Matrix))
    }

    fn movmatrix(&mut self) -> Decoded {
        self.aligned()?;
        let form = self.opcode.take("m8n8") && self.opcode.take("trans");
        self.require(form, "it needs `.m8n8.trans`")?;
        let ty = self.ty()?;
        self.require(ty == Ty::B16, "it takes `.b16`")?;
        self.count(2..=2)?;
        let d = self.target(0, Ty::B32)?;
        Ok((Op::MovMatrix { d, a: self.source(1, Ty::B32)? }, Class::Matrix))
    }

    fn mma(&mut self) -> Decoded {
        self.aligned()?;
        let k = [("m16n8k4", 4), ("m16n8k8", 8), ("m16n8k16", 16)]
            .into_iter()
            .find_map(|(name, k)| self.opcode.take(name).then_some(k));
        let k: u32 = k.ok_or_else(|| self.unknown("its shape is not modelled"))?;
        let layout = self.opcode.take("row") && self.opcode.take("col");
        self.require(layout, "A is `.row` and B is `.col`")?;
        let (d, a, b, c) = (self.ty()?, self.ty()?, self.ty()?, self.ty()?);
        self.require(d == Ty::F32 && c == Ty::F32, "accumulators are .f32")?;
        let shapes: &[u32] = match a {
            Ty::F16 | Ty::Bf16 => &[8, 16],
            Ty::Tf32 => &[4, 8],
            _ => &[],
        };
        self.require(a == b && shapes.contains(&k), "its types and shape are not modelled")?;
        self.count(4..=4)?;
        // Registers of A: 16 rows of k elements over 32 lanes, 4 bytes each.
        let a_count = (16 * k * a.bytes() as u32 / 4 / 32) as usize;
        let four = |cols: Box<[u32]>| [cols[0], cols[1], cols[2], cols[3]];
        let d = four(self.targets(0, 4)?);
        let a_cols = self.sources(1, a_count)?;
        let b_cols = self.sources(2, a_count / 2)?;
        let c = four(self.sources(3, 4)?);
        Ok((Op::Mma(Mma { ty: a, k, d, a: a_cols, b: b_cols, c }), Class::Tensor))
    }
}
