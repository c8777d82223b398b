//! Tensor-core instructions and the loads that feed them.

use super::form::{Decoded, Form};
use crate::inst::{Class, Keep, Left, Mma, Op, Space, Ty, Wgmma};
use crate::parse::ParseError;
use crate::parse::syntax::Operand;

impl Form<'_, '_, '_> {
    pub(super) fn matrix(&mut self) -> Option<Decoded> {
        Some(match self.opcode.base {
            "ldmatrix" => self.moved_matrices(false),
            "stmatrix" => self.moved_matrices(true),
            "movmatrix" => self.movmatrix(),
            "mma" => self.mma(),
            "wgmma" => self.wgmma(),
            _ => return None,
        })
    }

    fn aligned(&mut self) -> Result<(), ParseError> {
        let both = self.opcode.take("sync") && self.opcode.take("aligned");
        self.require(both, "it needs `.sync.aligned`")
    }

    /// `ldmatrix`, and `stmatrix`, which is written alike.
    fn moved_matrices(&mut self, store: bool) -> Decoded {
        self.aligned()?;
        let shape = self.opcode.take("m8n8");
        self.require(shape, "the simulator knows `.m8n8`")?;
        let count = [("x1", 1), ("x2", 2), ("x4", 4)]
            .into_iter()
            .find_map(|(name, count)| self.opcode.take(name).then_some(count));
        let count = count.ok_or_else(|| self.unknown("it needs `.x1`, `.x2` or `.x4`"))?;
        let transposed = self.opcode.take("trans");
        let space = self.opcode.space();
        self.require(space == Space::Shared, "its matrices lie in the block's shared memory")?;
        let ty = self.ty()?;
        self.require(ty == Ty::B16, "the simulator knows `.b16`")?;
        self.count(2..=2)?;
        if store {
            let address = self.address(0)?;
            let from = self.sources(1, count)?;
            return Ok((Op::StMatrix { from, transposed, address }, Class::Matrix));
        }
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

    fn wgmma(&mut self) -> Decoded {
        self.aligned()?;
        if self.opcode.take("fence") {
            self.count(0..=0)?;
            return Ok((Op::WgmmaFence, Class::Tensor));
        }
        if self.opcode.take("commit_group") {
            self.count(0..=0)?;
            return Ok((Op::WgmmaCommit, Class::Tensor));
        }
        if self.opcode.take("wait_group") {
            self.count(1..=1)?;
            let pending = self.literal(0, 7)? as u32;
            return Ok((Op::WgmmaWait { pending }, Class::Tensor));
        }
        let product = self.opcode.take("mma_async");
        self.require(product, "it is `.mma_async`, `.fence`, `.commit_group` or `.wait_group`")?;
        let n = self.opcode.take_if(|part| {
            let n: u32 = part.strip_prefix("m64n")?.strip_suffix("k16")?.parse().ok()?;
            (n.is_multiple_of(8) && (8..=256).contains(&n)).then_some(n)
        });
        let n =
            n.ok_or_else(|| self.unknown("its shape is `.m64nNk16`, N a multiple of 8 to 256"))?;
        let (d, a, b) = (self.ty()?, self.ty()?, self.ty()?);
        let types = d == Ty::F32 && a == b && matches!(a, Ty::F16 | Ty::Bf16);
        self.require(types, "the simulator knows sums of f32 and factors of f16 or bf16")?;
        let registers = matches!(self.operand(1)?, Operand::Vector(_));
        let operands = 8 - usize::from(registers);
        self.count(operands..=operands)?;
        let sums = self.targets(0, n as usize / 2)?;
        let left = if registers {
            let cols = self.sources(1, 4)?;
            Left::Registers([cols[0], cols[1], cols[2], cols[3]])
        } else {
            Left::Shared(self.source(1, Ty::B64)?)
        };
        let b = self.source(2, Ty::B64)?;
        let keep = match self.operand(3)? {
            Operand::Int(value @ (0 | 1)) => Keep::Always(*value == 1),
            _ => {
                let (pred, negated) = self.pred(3)?;
                Keep::If { pred, negated }
            }
        };
        let mut negate = [false; 2];
        for (at, negate) in negate.iter_mut().enumerate() {
            *negate = match self.operand(4 + at)? {
                Operand::Int(1) => false,
                Operand::Int(-1) => true,
                _ => return Err(self.wrong_operand(4 + at, "1 or -1")),
            };
        }
        let right = self.literal(operands - 1, 1)? == 1;
        let transposed = [!registers && self.literal(6, 1)? == 1, right];
        let product = Wgmma { ty: a, n, d: sums, a: left, b, keep, negate, transposed };
        Ok((Op::Wgmma(Box::new(product)), Class::Tensor))
    }
}
