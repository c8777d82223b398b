//! Branches, barriers and fences.

use super::form::{Decoded, Form};
use crate::inst::{Class, Op, Ty};

impl Form<'_, '_, '_> {
    pub(super) fn control(&mut self) -> Option<Decoded> {
        Some(match self.opcode.base {
            "bra" => self.branch(),
            "ret" | "exit" => {
                self.opcode.take("uni");
                self.count(0..=0).map(|()| (Op::Exit, Class::Control))
            }
            "trap" => self.count(0..=0).map(|()| (Op::Trap, Class::Control)),
            "bar" => self.bar(),
            "barrier" => self.barrier(),
            "membar" | "fence" => self.fence(),
            "nanosleep" | "pmevent" => {
                self.opcode.take("u32");
                Ok((Op::Nop, Class::Control))
            }
            _ => return None,
        })
    }

    fn branch(&mut self) -> Decoded {
        self.opcode.take("uni");
        self.count(1..=1)?;
        Ok((Op::Bra { target: self.label(0)? }, Class::Control))
    }

    fn bar(&mut self) -> Decoded {
        if self.opcode.take("warp") {
            let sync = self.opcode.take("sync");
            self.require(sync, "bar.warp needs `.sync`")?;
            self.count(1..=1)?;
            return Ok((Op::BarWarp { members: self.source(0, Ty::B32)? }, Class::Barrier));
        }
        self.opcode.take("cta");
        self.synchronise()
    }

    /// `barrier` without `.aligned` may be reached by parts of a warp at different times.
    fn barrier(&mut self) -> Decoded {
        self.opcode.take("cta");
        let aligned = self.opcode.take("aligned");
        self.require(aligned, "the simulator knows the `.aligned` form")?;
        self.synchronise()
    }

    fn synchronise(&mut self) -> Decoded {
        if self.opcode.take("arrive") {
            self.count(2..=2)?;
            let (id, count) = (self.source(0, Ty::U32)?, self.source(1, Ty::U32)?);
            return Ok((Op::BarArrive { id, count }, Class::Barrier));
        }
        let sync = self.opcode.take("sync");
        self.require(sync, "the simulator knows `.sync` and `.arrive`")?;
        self.count(1..=2)?;
        let id = self.source(0, Ty::U32)?;
        let count = if self.operands() == 2 { Some(self.source(1, Ty::U32)?) } else { None };
        Ok((Op::BarSync { id, count }, Class::Barrier))
    }

    fn fence(&mut self) -> Decoded {
        while self
            .opcode
            .take_if(|part| {
                let known = matches!(part, "sc" | "acq_rel" | "cta" | "gl" | "sys" | "gpu");
                known.then_some(())
            })
            .is_some()
        {}
        self.count(0..=0)?;
        Ok((Op::Nop, Class::Barrier))
    }
}
