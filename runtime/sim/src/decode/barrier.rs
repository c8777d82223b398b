//! Barriers in shared memory, and fences between proxies.

use super::form::{Decoded, Form};
use crate::inst::{Class, MbarrierOp, Mbarriers, Op, Phase, Space, Ty};
use crate::parse::ParseError;
use crate::parse::syntax::Operand;

impl Form<'_, '_, '_> {
    pub(super) fn mbarrier(&mut self) -> Decoded {
        self.b64();
        let op = self.opcode.take_if(|part| {
            let known = [
                "init",
                "inval",
                "arrive",
                "arrive_drop",
                "expect_tx",
                "complete_tx",
                "test_wait",
                "try_wait",
            ];
            known.into_iter().find(|known| *known == part)
        });
        let op = op.ok_or_else(|| self.unknown("the simulator does not know this operation"))?;
        let expects = op.starts_with("arrive") && self.opcode.take("expect_tx");
        let parity = op.ends_with("wait") && self.opcode.take("parity");
        self.order();
        let space = self.opcode.space();
        let shared = matches!(space, Space::Shared | Space::Cluster | Space::Generic);
        self.require(shared, "mbarriers lie in shared memory")?;
        let first = usize::from(op.starts_with("arrive") || op.ends_with("wait"));
        let kind = match op {
            "init" => {
                self.count(2..=2)?;
                Mbarriers::Init { count: self.source(1, Ty::U32)? }
            }
            "inval" => {
                self.count(1..=1)?;
                Mbarriers::Inval
            }
            "expect_tx" | "complete_tx" => {
                self.count(2..=2)?;
                Mbarriers::Transactions {
                    bytes: self.source(1, Ty::U32)?,
                    complete: op == "complete_tx",
                }
            }
            "arrive" | "arrive_drop" => {
                self.count(2 + usize::from(expects)..=3)?;
                let sink = matches!(self.operand(0)?, Operand::Name("_", 0));
                let state = if sink { None } else { Some(self.target(0, Ty::B64)?) };
                let last = if self.operands() == 3 { Some(self.source(2, Ty::U32)?) } else { None };
                let (count, expect) = if expects { (None, last) } else { (last, None) };
                Mbarriers::Arrive { state, count, expect, drop: op == "arrive_drop" }
            }
            _ => {
                self.count(3..=4)?;
                let done = self.whole_pred_target(0)?;
                let phase = if parity {
                    Phase::Parity(self.source(2, Ty::U32)?)
                } else {
                    Phase::State(self.source(2, Ty::B64)?)
                };
                if self.operands() == 4 {
                    // How long it may wait.
                    self.source(3, Ty::U32)?;
                }
                Mbarriers::Wait { blocking: op == "try_wait", done, phase }
            }
        };
        let address = self.address(first)?;
        Ok((Op::Mbarrier(MbarrierOp { kind, space, address }), Class::Barrier))
    }

    fn b64(&mut self) {
        self.opcode.take("b64");
    }

    /// Memory order and scope: every operation here orders as much as the strongest.
    fn order(&mut self) {
        while self
            .opcode
            .take_if(|part| {
                matches!(part, "release" | "acquire" | "relaxed" | "cta" | "cluster").then_some(())
            })
            .is_some()
        {}
    }

    /// `fence.proxy.async` and `fence.mbarrier_init`; `None` for a fence within the generic proxy.
    pub(super) fn proxy_fence(&mut self) -> Result<Option<Op>, ParseError> {
        if self.opcode.take("mbarrier_init") {
            self.order();
            self.count(0..=0)?;
            return Ok(Some(Op::ProxyFence { mbarriers: true }));
        }
        if !self.opcode.take("proxy") {
            return Ok(None);
        }
        if self.opcode.take("tensormap::generic") {
            // Tensor maps are written by the host, before any launch.
            while self.opcode.take("acquire") || self.opcode.take("release") {}
            while ["cta", "cluster", "gpu", "sys"].iter().any(|scope| self.opcode.take(scope)) {}
            self.count(0..=2)?;
            return Ok(Some(Op::Nop));
        }
        let known = self.opcode.take("async");
        self.require(known, "the simulator knows the async proxy and tensor maps")?;
        self.opcode.take("global");
        self.opcode.space();
        self.count(0..=0)?;
        Ok(Some(Op::ProxyFence { mbarriers: false }))
    }
}
