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
            "mbarrier" => self.mbarrier(),
            "setmaxnreg" => self.registers(),
            "griddepcontrol" => self.dependent_launch(),
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
        if self.opcode.take("cluster") {
            return self.cluster_barrier();
        }
        self.opcode.take("cta");
        let aligned = self.opcode.take("aligned");
        self.require(aligned, "the simulator knows the `.aligned` form")?;
        self.synchronise()
    }

    /// The barrier of the cluster.
    fn cluster_barrier(&mut self) -> Decoded {
        let arrive = self.opcode.take("arrive");
        let known = arrive || self.opcode.take("wait");
        self.require(known, "it is `.arrive` or `.wait`")?;
        let aligned = self.opcode.take("aligned");
        self.count(0..=0)?;
        if !arrive {
            self.opcode.take("acquire");
            return Ok((Op::ClusterWait { aligned }, Class::Barrier));
        }
        let release = !self.opcode.take("relaxed");
        self.opcode.take("release");
        Ok((Op::ClusterArrive { release, aligned }, Class::Barrier))
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

    /// Registers are the assembler's business; only the form is checked.
    fn registers(&mut self) -> Decoded {
        let changes = self.opcode.take("inc") || self.opcode.take("dec");
        let all =
            self.opcode.take("sync") && self.opcode.take("aligned") && self.opcode.take("u32");
        self.require(changes && all, "it is `setmaxnreg.inc` or `.dec`, `.sync.aligned.u32`")?;
        self.count(1..=1)?;
        let count = self.literal(0, 256)?;
        let right = count >= 24 && count % 8 == 0;
        self.require(right, "it takes a multiple of 8 from 24 to 256")?;
        Ok((Op::BarWarp { members: self.decoder.narrow_const(u32::MAX) }, Class::Control))
    }

    /// Launches run one after the other; that one which overlaps could have begun earlier is checked at its wait.
    fn dependent_launch(&mut self) -> Decoded {
        let wait = self.opcode.take("wait");
        let known = wait || self.opcode.take("launch_dependents");
        self.require(known, "it is `.launch_dependents` or `.wait`")?;
        self.count(0..=0)?;
        Ok((if wait { Op::WaitForLaunches } else { Op::Nop }, Class::Control))
    }

    fn fence(&mut self) -> Decoded {
        if let Some(op) = self.proxy_fence()? {
            return Ok((op, Class::Barrier));
        }
        while self
            .opcode
            .take_if(|part| {
                let known =
                    matches!(part, "sc" | "acq_rel" | "cta" | "cluster" | "gl" | "sys" | "gpu");
                known.then_some(())
            })
            .is_some()
        {}
        self.count(0..=0)?;
        Ok((Op::Nop, Class::Barrier))
    }
}
