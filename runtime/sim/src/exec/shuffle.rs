//! Exchange of values between lanes.

use super::copy::combine;
use super::warp::{Warp, lanes};
use crate::inst::{AtomOp, Col, Shfl, ShflMode, Slot, Ty, VoteMode};

/// For each lane the lane it reads, and whether that was in range.
pub(super) fn sources(warp: &Warp, shfl: &Shfl, mask: u32) -> ([usize; 32], u32) {
    let mut from = std::array::from_fn(|lane| lane);
    let mut in_range = 0;
    for lane in lanes(mask) {
        let b = warp.narrow[shfl.b as usize][lane] & 31;
        let c = warp.narrow[shfl.c as usize][lane];
        let (clamp, segment) = (c & 31, c >> 8 & 31);
        let own = lane as u32;
        let lowest = own & segment;
        let last = lowest | (clamp & !segment);
        let (source, valid) = match shfl.mode {
            ShflMode::Up => {
                let source = own as i32 - b as i32;
                (source as u32, source >= last as i32)
            }
            ShflMode::Down => (own + b, own + b <= last),
            ShflMode::Bfly => (own ^ b, own ^ b <= last),
            ShflMode::Idx => {
                let source = lowest | (b & !segment & 31);
                (source, source <= last)
            }
        };
        if valid {
            in_range |= 1 << lane;
            // A lane that takes no part gives nothing defined; the reader keeps its own value.
            if mask >> source & 1 == 1 {
                from[lane] = source as usize;
            }
        }
    }
    (from, in_range)
}

pub(super) fn shfl(warp: &mut Warp, mask: u32, shfl: &Shfl) {
    let (from, in_range) = sources(warp, shfl, mask);
    let column = &warp.narrow[shfl.a as usize];
    let values = std::array::from_fn(|lane| column[from[lane]]);
    warp.set_narrow(mask, shfl.d, &values);
    if let Some(pred) = shfl.in_range {
        warp.set_pred(mask, pred, in_range);
    }
}

pub(super) fn vote(warp: &mut Warp, mask: u32, mode: VoteMode, d: Col, p: Col, negated: bool) {
    let held = (warp.preds[p as usize] ^ if negated { u32::MAX } else { 0 }) & mask;
    let answer = match mode {
        VoteMode::Ballot => return warp.set_narrow(mask, d, &[held; 32]),
        VoteMode::All => held == mask,
        VoteMode::Any => held != 0,
        VoteMode::Uni => held == mask || held == 0,
    };
    warp.set_pred(mask, d, if answer { u32::MAX } else { 0 });
}

fn slot(wide: bool, a: Col) -> Slot {
    if wide { Slot::Wide(a) } else { Slot::Narrow(a) }
}

pub(super) fn match_any(warp: &mut Warp, mask: u32, wide: bool, d: Col, a: Col) {
    let value = |lane| warp.value(slot(wide, a), lane);
    let values = std::array::from_fn(|lane| {
        lanes(mask)
            .filter(|other| value(*other) == value(lane))
            .fold(0, |sum, other| sum | 1 << other)
    });
    warp.set_narrow(mask, d, &values);
}

pub(super) fn match_all(warp: &mut Warp, mask: u32, wide: bool, d: Col, all: Option<Col>, a: Col) {
    let first = mask.trailing_zeros() as usize & 31;
    let value = |lane| warp.value(slot(wide, a), lane);
    let same = lanes(mask).all(|lane| value(lane) == value(first));
    warp.set_narrow(mask, d, &[if same { mask } else { 0 }; 32]);
    if let Some(all) = all {
        warp.set_pred(mask, all, if same { u32::MAX } else { 0 });
    }
}

pub(super) fn redux(warp: &mut Warp, mask: u32, op: AtomOp, ty: Ty, d: Col, a: Col) {
    let column = &warp.narrow[a as usize];
    let result = lanes(mask)
        .map(|lane| u64::from(column[lane]))
        .reduce(|sum, value| combine(op, ty, sum, value, 0))
        .unwrap_or(0);
    warp.set_narrow(mask, d, &[result as u32; 32]);
}
