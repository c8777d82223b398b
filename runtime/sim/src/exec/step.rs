//! One instruction for one part of a warp.

use super::access::{Step, window};
use super::float::{self, Comparison};
use super::warp::{Warp, lanes};
use super::{Cluster, convert, int, matrix, shuffle};
use crate::inst::Op;

impl Cluster<'_> {
    /// Runs an instruction whose lanes need nobody else.
    #[inline]
    pub(super) fn step<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        op: &Op,
    ) -> Step<()> {
        match op {
            Op::Nop => {}
            Op::Mov { wide: false, d, a } => {
                warp.n1(mask, *d, *a, |x| x);
            }
            Op::Mov { wide: true, d, a } => {
                warp.w1(mask, *d, *a, |x| x);
            }
            Op::Pack { wide, bits, d, parts } => pack(warp, mask, *wide, *bits, *d, parts),
            Op::Unpack { wide, bits, parts, a } => unpack(warp, mask, *wide, *bits, parts, *a),
            Op::PredSet { d, value } => warp.set_pred(mask, *d, if *value { u32::MAX } else { 0 }),
            Op::PredMov { d, a } => warp.set_pred(mask, *d, warp.preds[*a as usize]),
            Op::PredNot { d, a } => warp.set_pred(mask, *d, !warp.preds[*a as usize]),
            Op::PredLogic { op, d, a, b } => {
                let bits = float::logic(*op, warp.preds[*a as usize], warp.preds[*b as usize]);
                warp.set_pred(mask, *d, bits);
            }
            Op::Int1 { op, ty, d, a } => int::int1(warp, mask, *op, *ty, *d, *a),
            Op::Int2 { op, ty, d, a, b } => int::int2(warp, mask, *op, *ty, *d, *a, *b),
            Op::Int3 { op, ty, d, a, b, c } => int::int3(warp, mask, *op, *ty, *d, [*a, *b, *c]),
            Op::Bfi { wide, d, a, b, at, len } => {
                insert(warp, mask, *wide, *d, [*a, *b], [*at, *len]);
            }
            Op::Float1 { op, ty, mode, d, a } => float::float1(warp, mask, *op, *ty, *mode, *d, *a),
            Op::Float2 { op, ty, mode, d, a, b } => {
                float::float2(warp, mask, *op, *ty, *mode, *d, [*a, *b]);
            }
            Op::Fma { ty, mode, d, a, b, c } => {
                float::fma(warp, mask, *ty, *mode, *d, [*a, *b, *c]);
            }
            Op::Setp { compare, ty, ftz, combine, d, other, a, b } => {
                let (compare, ty, ftz, a, b) = (*compare, *ty, *ftz, *a, *b);
                let comparison = Comparison { compare, ty, ftz, a, b };
                float::setp(warp, mask, &comparison, *combine, *d, *other);
            }
            Op::Set { compare, to, ty, ftz, d, a, b } => {
                let (compare, ty, ftz, a, b) = (*compare, *ty, *ftz, *a, *b);
                float::set(warp, mask, &Comparison { compare, ty, ftz, a, b }, *to, *d);
            }
            Op::Selp { wide, d, a, b, p, negated } => {
                let chosen = warp.preds[*p as usize] ^ if *negated { u32::MAX } else { 0 };
                float::selp(warp, mask, *wide, *d, [*a, *b], chosen);
            }
            Op::Slct { wide, float, ftz, d, a, b, c } => {
                let chosen = float::at_least_zero(warp, *float, *ftz, *c);
                float::selp(warp, mask, *wide, *d, [*a, *b], chosen);
            }
            Op::Testp { test, wide, d, a } => float::testp(warp, mask, *test, *wide, *d, *a),
            Op::Convert { convert, d, a } => convert::convert(warp, mask, *convert, *d, *a),
            Op::ConvertPair { convert, d, a, b } => convert::pair(warp, mask, *convert, *d, *a, *b),
            Op::ToGeneric { space, d, a } => warp.w1(mask, *d, *a, |x| x | window(*space)),
            Op::FromGeneric { space, wide: true, d, a } => {
                warp.w1(mask, *d, *a, |x| x & !window(*space));
            }
            Op::FromGeneric { d, a, .. } => warp.n1(mask, *d, *a, |x| x),
            Op::Load(load) => return self.load::<CHECK>(warp, mask, load),
            Op::Store(store) => return self.store::<CHECK>(warp, mask, store),
            Op::Atom(atom) => return self.atom::<CHECK>(warp, mask, atom),
            Op::CpAsync(copy) => return self.cp_async::<CHECK>(warp, mask, copy),
            Op::CpCommit => self.cp_commit(warp, mask),
            Op::CpWait { pending } => self.cp_wait(warp, mask, Some(*pending)),
            Op::CpWaitAll => self.cp_wait(warp, mask, None),
            Op::LdMatrix { d, transposed, address } => {
                return self.ldmatrix::<CHECK>(warp, d, *transposed, *address);
            }
            Op::StMatrix { from, transposed, address } => {
                return self.stmatrix::<CHECK>(warp, from, *transposed, *address);
            }
            Op::MovMatrix { d, a } => {
                warp.narrow[*d as usize] = matrix::transpose(&warp.narrow[*a as usize]);
            }
            Op::Mma(mma) => {
                self.mma(warp, mma);
            }
            Op::ActiveMask { d } => warp.set_narrow(mask, *d, &[mask; 32]),
            Op::Transfer(transfer) => return self.transfer::<CHECK>(warp, mask, transfer),
            Op::TransferCommit => {
                for lane in lanes(mask) {
                    warp.bulk_groups[lane] += 1;
                }
            }
            Op::TransferWait { pending, reads } => {
                return self.transfer_wait(warp, mask, *pending, *reads);
            }
            Op::PeerCopy(copy) => return self.peer_copy::<CHECK>(warp, mask, copy),
            Op::StoreAsync(store) => return self.store_async::<CHECK>(warp, mask, store),
            Op::MapAddress { wide, d, a, rank } => {
                for lane in lanes(mask) {
                    let rank = warp.narrow[*rank as usize][lane];
                    if *wide {
                        let address = warp.wide[*a as usize][lane];
                        warp.wide[*d as usize][lane] = self.map_address(address, rank, lane)?;
                    } else {
                        let address = warp.narrow[*a as usize][lane].into();
                        warp.narrow[*d as usize][lane] =
                            self.map_address(address, rank, lane)? as u32;
                    }
                }
            }
            Op::RankOf { wide: true, d, a } => {
                for lane in lanes(mask) {
                    warp.narrow[*d as usize][lane] = self.rank_of(warp.wide[*a as usize][lane]);
                }
            }
            Op::RankOf { d, a, .. } => {
                for lane in lanes(mask) {
                    let address = warp.narrow[*a as usize][lane].into();
                    warp.narrow[*d as usize][lane] = self.rank_of(address);
                }
            }
            Op::WaitForLaunches => self.waited[warp.index as usize] |= mask,
            Op::ProxyFence { mbarriers } => self.proxy_fence(warp, mask, *mbarriers),
            Op::Shfl(_)
            | Op::Wgmma(_)
            | Op::WgmmaFence
            | Op::WgmmaCommit
            | Op::WgmmaWait { .. }
            | Op::Mbarrier(_)
            | Op::Elect { .. }
            | Op::Vote { .. }
            | Op::MatchAny { .. }
            | Op::MatchAll { .. }
            | Op::Redux { .. }
            | Op::BarSync { .. }
            | Op::BarArrive { .. }
            | Op::BarWarp { .. }
            | Op::ClusterArrive { .. }
            | Op::ClusterWait { .. }
            | Op::Bra { .. }
            | Op::Exit
            | Op::Trap => {}
        }
        Ok(())
    }

    /// Runs an instruction in which lanes exchange values, all members being here.
    pub(super) fn warp_wide(&mut self, warp: &mut Warp, mask: u32, op: &Op) {
        match op {
            Op::Shfl(shfl) => shuffle::shfl(warp, mask, shfl),
            Op::Vote { mode, d, p, negated, .. } => {
                shuffle::vote(warp, mask, *mode, *d, *p, *negated);
            }
            Op::MatchAny { wide, d, a, .. } => shuffle::match_any(warp, mask, *wide, *d, *a),
            Op::MatchAll { wide, d, all, a, .. } => {
                shuffle::match_all(warp, mask, *wide, *d, *all, *a);
            }
            Op::Elect { d, leader, .. } => {
                let first = mask & mask.wrapping_neg();
                if let Some(d) = d {
                    warp.set_narrow(mask, *d, &[first.trailing_zeros(); 32]);
                }
                warp.set_pred(mask, *leader, first);
            }
            Op::Redux { op, ty, d, a, .. } => shuffle::redux(warp, mask, *op, *ty, *d, *a),
            _ => {}
        }
    }
}

fn pack(warp: &mut Warp, mask: u32, wide: bool, bits: u32, d: u32, parts: &[u32]) {
    if let ([low, high], 16) = (parts, bits) {
        return warp.n2(mask, d, *low, *high, |low, high| low & 0xffff | high << 16);
    }
    for lane in lanes(mask) {
        let value = parts.iter().enumerate().fold(0, |sum, (at, part)| {
            let own = u64::from(warp.narrow[*part as usize][lane]) & (u64::MAX >> (64 - bits));
            sum | own << (at as u32 * bits)
        });
        if wide {
            warp.wide[d as usize][lane] = value;
        } else {
            warp.narrow[d as usize][lane] = value as u32;
        }
    }
}

fn unpack(warp: &mut Warp, mask: u32, wide: bool, bits: u32, parts: &[Option<u32>], a: u32) {
    if let ([Some(low), Some(high)], 16) = (parts, bits)
        && *low != a
    {
        warp.n1(mask, *low, a, |x| x & 0xffff);
        return warp.n1(mask, *high, a, |x| x >> 16);
    }
    for lane in lanes(mask) {
        let value = if wide {
            warp.wide[a as usize][lane]
        } else {
            u64::from(warp.narrow[a as usize][lane])
        };
        for (at, part) in parts.iter().enumerate() {
            if let Some(part) = part {
                let own = value >> (at as u32 * bits) & (u64::MAX >> (64 - bits));
                warp.narrow[*part as usize][lane] = own as u32;
            }
        }
    }
}

fn insert(warp: &mut Warp, mask: u32, wide: bool, d: u32, [a, b]: [u32; 2], [at, len]: [u32; 2]) {
    for lane in lanes(mask) {
        let (at, len) = (warp.narrow[at as usize][lane], warp.narrow[len as usize][lane]);
        if wide {
            let (a, b) = (warp.wide[a as usize][lane], warp.wide[b as usize][lane]);
            warp.wide[d as usize][lane] = int::insert(a, b, at, len, 64);
        } else {
            let (a, b) = (warp.narrow[a as usize][lane], warp.narrow[b as usize][lane]);
            let value = int::insert(u64::from(a), u64::from(b), at, len, 32);
            warp.narrow[d as usize][lane] = value as u32;
        }
    }
}
