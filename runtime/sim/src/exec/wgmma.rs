//! Products of warpgroups: four warps multiply tiles of shared memory beside what else they do.
//!
//! A product is done when all four warps have come to it. Until a warp's wait for its group the sums in the warp's
//! registers and what the product reads in shared memory belong to it. Copies of sums in flight from register to
//! register belong to it too: ptxas makes one register of both. It adds its products one k after the other, as `mma`.

use bytec_runtime::cpu::isa::Compiled;

use super::Cluster;
use super::access::{Step, Target};
use super::agent::Agent;
use super::warp::Warp;
use crate::fault::{AccessKind, FaultKind, Trap};
use crate::inst::{Inst, Keep, Left, Op, Slot, Ty, Wgmma};
use crate::memory::shadow::{Seen, Who, before, common, learn};
use crate::num::{f32ops, half};
use crate::tensor_map::Swizzle;

const ROWS: usize = 64;
const K: usize = 16;
/// Bytes that lie together: eight elements.
const PIECE: u64 = 16;

fn wrong(text: impl Into<String>) -> Box<Trap> {
    Trap::new(FaultKind::Wgmma(text.into()))
}

/// The checks of an instruction's registers in a kernel with products, and what it does to their state.
pub(super) fn registers(warp: &mut Warp, inst: &Inst) -> Result<(), Box<Trap>> {
    let Some(products) = &mut warp.products else { return Ok(()) };
    match &inst.op {
        Op::Wgmma(_) => return Ok(()),
        Op::Mov { wide: false, d, a } if inst.guard.is_none() => {
            let (d, a) = (*d as usize, *a as usize);
            if products.factors[d] > products.done {
                let access = AccessKind::Write;
                return Err(Trap::new(FaultKind::RegisterInFlight { access }));
            }
            products.sums[d] = products.sums[a];
            products.fresh[d] = products.fresh[a];
            return Ok(());
        }
        _ => {}
    }
    let done = products.done;
    let narrow = |slot: &Slot| match slot {
        Slot::Narrow(col) => Some(*col as usize),
        Slot::Wide(_) | Slot::Pred(_) => None,
    };
    for col in inst.sources.iter().filter_map(narrow) {
        if products.sums[col] > done {
            return Err(Trap::new(FaultKind::RegisterInFlight { access: AccessKind::Read }));
        }
        // A product that changes it must not overtake the read.
        products.fresh[col] = true;
    }
    for col in inst.targets.iter().filter_map(narrow) {
        if products.sums[col] > done || products.factors[col] > done {
            return Err(Trap::new(FaultKind::RegisterInFlight { access: AccessKind::Write }));
        }
        products.fresh[col] = true;
    }
    Ok(())
}

/// What a matrix descriptor says.
#[derive(Clone, Copy)]
struct Descriptor {
    start: u64,
    leading: u64,
    stride: u64,
    swizzle: Swizzle,
}

impl Descriptor {
    fn new(bits: u64) -> Result<Self, Box<Trap>> {
        let field = |at: u32| (bits >> at & 0x3fff) << 4;
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::Bytes128,
            2 => Swizzle::Bytes64,
            _ => Swizzle::Bytes32,
        };
        let start = field(0);
        if bits >> 49 & 7 != 0 {
            return Err(wrong("the simulator knows descriptors with a base offset of 0"));
        }
        // With a base offset of 0 the pattern begins where these address bits are zero.
        let lines = swizzle.span() / 16 * 128;
        if swizzle != Swizzle::None && start % lines >= 128 {
            let text = format!(
                "expected a tile that begins at a multiple of {lines} bytes for its swizzle, found a start at shared+{start}"
            );
            return Err(wrong(text));
        }
        Ok(Self { start, leading: field(16), stride: field(32), swizzle })
    }

    /// Where eight elements lie that follow each other in k, or in the rows if those lie together.
    fn piece(self, row: u64, k: u64, transposed: bool) -> u64 {
        let Self { start, leading, stride, swizzle } = self;
        let span = swizzle.span();
        let offset = match (transposed, swizzle) {
            (false, Swizzle::None) => row / 8 * stride + row % 8 * PIECE + k / 8 * leading,
            (false, _) => row / 8 * stride + row % 8 * span + k / 8 * PIECE,
            (true, Swizzle::None) => row / 8 * stride + k / 8 * leading + k % 8 * PIECE,
            (true, _) => {
                let wide = span / PIECE;
                let (inside, beyond) = (row / 8 % wide, row / 8 / wide);
                inside * PIECE + beyond * leading + k / 8 * stride + k % 8 * span
            }
        };
        swizzle.apply(start + offset)
    }
}

/// What a product reads of shared memory, and on whose behalf.
struct Reading<'a> {
    who: Who<'a>,
    tracked: bool,
}

/// A factor: 16 numbers of each row, and which rows depend on marked memory.
struct Factor {
    rows: Vec<[f32; K]>,
    marked: Vec<bool>,
}

impl Cluster<'_> {
    /// Fences, commits and waits.
    pub(super) fn products(&mut self, warp: &mut Warp, op: &Op) -> Step<()> {
        let Some(products) = &mut warp.products else { return Ok(()) };
        match op {
            Op::WgmmaFence => products.fresh[..products.registers].fill(false),
            Op::WgmmaCommit => products.committed += 1,
            Op::WgmmaWait { pending } => {
                products.done = products.done.max(products.committed.saturating_sub(*pending));
                let clock = products.done + 1;
                let agent = self.agent(Agent::Products {
                    first: warp.index - self.warp_in_block(warp.index) % 4,
                })?;
                let mut done = vec![0; agent as usize];
                done.push(before(clock));
                learn(&mut self.known[warp.index as usize], &done);
            }
            _ => {}
        }
        Ok(())
    }

    /// The product at a place, of the four warps of a warpgroup.
    pub(super) fn product(&mut self, warps: &mut [Warp], pc: u32) -> Step<()> {
        let program = self.launch.program;
        let Op::Wgmma(wgmma) = &program.code[pc as usize].op else { return Ok(()) };
        let races = self.launch.checks.races;
        let group = self.own_registers(warps, wgmma, races)?;
        let agent = self.agent(Agent::Products { first: warps[0].index })?;

        let right = Descriptor::new(uniform(warps, wgmma.b)?)?;
        let left = match wgmma.a {
            Left::Shared(col) => Some(Descriptor::new(uniform(warps, col)?)?),
            Left::Registers(_) => None,
        };
        // A read is ordered after what all four warps know.
        let shared = |known: &[Vec<Seen>]| {
            let first = warps[0].index as usize;
            let mut all = known[first].clone();
            for other in &known[first + 1..first + 4] {
                common(&mut all, other);
            }
            all
        };
        let (known, fenced) = (shared(&self.known), shared(&self.fenced));
        let who = Who {
            warp: u32::MAX,
            lane: 0,
            known: &known,
            agent,
            clock: group,
            fenced: Some(&fenced),
        };
        let reading = Reading { who, tracked: self.launch.tracked };
        let n = wgmma.n as usize;
        let mut b = self.factor(&reading, right, (n, wgmma.transposed[1]), wgmma.ty)?;
        let mut a = match (left, &wgmma.a) {
            (Some(left), _) => {
                self.factor(&reading, left, (ROWS, wgmma.transposed[0]), wgmma.ty)?
            }
            (None, Left::Registers(cols)) => held(warps, cols, wgmma.ty, reading.tracked),
            (None, Left::Shared(_)) => return Ok(()),
        };
        for (factor, negate) in [&mut a, &mut b].into_iter().zip(wgmma.negate) {
            if negate {
                factor.rows.iter_mut().flatten().for_each(|x| *x = -*x);
            }
        }
        let keep = match wgmma.keep {
            Keep::Always(keep) => keep,
            Keep::If { pred, negated } => uniform_pred(warps, pred)? != negated,
        };
        let mut sums = vec![0f32; ROWS * n];
        if keep {
            each_sum(wgmma, |at, warp, col, lane| {
                sums[at] = f32::from_bits(warps[warp].narrow[col][lane]);
            });
        }
        let mut turned = vec![0f32; K * n];
        for (column, row) in b.rows.iter().enumerate() {
            for (k, x) in row.iter().enumerate() {
                turned[k * n + column] = *x;
            }
        }
        warps[0].isa.compiled(Sums { sums: &mut sums, rows: &a.rows, columns: &turned, n });
        each_sum(wgmma, |at, warp, col, lane| {
            warps[warp].narrow[col][lane] = f32ops::canonical(sums[at]);
        });
        if reading.tracked {
            each_sum(wgmma, |at, warp, col, lane| {
                let marked = a.marked[at / n] || b.marked[at % n];
                let before = keep && warps[warp].narrow_taint[col][lane] != 0;
                warps[warp].narrow_taint[col][lane] = if marked || before { u32::MAX } else { 0 };
            });
        }
        self.profile.tensor_ops += (2 * ROWS * K * n) as u64;
        Ok(())
    }

    /// Checks the registers of a product and makes them its own; the number of its group.
    fn own_registers(&self, warps: &mut [Warp], wgmma: &Wgmma, races: bool) -> Step<u32> {
        let mut groups = warps.iter().flat_map(|warp| &warp.products).map(|own| own.committed + 1);
        let group = groups.next().unwrap_or(1);
        if groups.any(|other| other != group) {
            return Err(wrong("expected all four warps to have committed as many groups"));
        }
        if !races {
            return Ok(group);
        }
        let factors: &[u32] = match &wgmma.a {
            Left::Registers(cols) => cols,
            Left::Shared(_) => &[],
        };
        for products in warps.iter_mut().flat_map(|warp| &mut warp.products) {
            let done = products.done;
            if wgmma.d.iter().chain(factors).any(|col| products.fresh[*col as usize]) {
                return Err(Trap::new(FaultKind::RegisterFence));
            }
            for col in factors {
                if products.sums[*col as usize] > done {
                    let access = AccessKind::Read;
                    return Err(Trap::new(FaultKind::RegisterInFlight { access }));
                }
                products.factors[*col as usize] = group;
            }
            for col in &wgmma.d {
                if products.factors[*col as usize] > done {
                    let access = AccessKind::Write;
                    return Err(Trap::new(FaultKind::RegisterInFlight { access }));
                }
                products.sums[*col as usize] = group;
            }
        }
        Ok(group)
    }

    /// Reads so many rows of a factor from shared memory.
    fn factor(
        &mut self,
        reading: &Reading<'_>,
        from: Descriptor,
        (count, transposed): (usize, bool),
        ty: Ty,
    ) -> Step<Factor> {
        let mut rows = vec![[0f32; K]; count];
        let mut marked = vec![false; count];
        let (outer, inner) = if transposed { (K, count) } else { (count, K) };
        for (i, j) in (0..outer).flat_map(|i| (0..inner).step_by(8).map(move |j| (i, j))) {
            let (row, k) = if transposed { (j, i) } else { (i, j) };
            let offset = from.piece(row as u64, k as u64, transposed);
            self.check_piece(reading, offset)?;
            let place = offset as usize..offset as usize + PIECE as usize;
            for (at, pair) in
                self.blocks[self.block].shared.data[place.clone()].chunks_exact(2).enumerate()
            {
                let bits = u32::from(u16::from_le_bytes([pair[0], pair[1]]));
                let (row, k) = if transposed { (row + at, k) } else { (row, k + at) };
                rows[row][k] = element(bits, ty);
            }
            if reading.tracked {
                for (at, taint) in
                    self.blocks[self.block].shared.taint[place].chunks_exact(2).enumerate()
                {
                    marked[if transposed { row + at } else { row }] |= taint != [0, 0];
                }
            }
        }
        Ok(Factor { rows, marked })
    }

    fn check_piece(&mut self, reading: &Reading<'_>, offset: u64) -> Step<()> {
        let block = self.block;
        let target = Target::Shared { block, offset };
        let access = AccessKind::Read;
        if offset + PIECE > self.shared_bytes() {
            let kind = FaultKind::OutOfBounds { access, bytes: PIECE };
            return Err(self.trap(kind, 0, target));
        }
        if self.mbarrier_in(block, offset, PIECE) {
            return Err(self.trap(FaultKind::MbarrierAccess { access }, 0, target));
        }
        if self.launch.checks.races
            && let Err(kind) = self.blocks[block].shared.shadow.read(offset, PIECE, reading.who)
        {
            return Err(self.trap(self.named(kind), 0, target));
        }
        if self.launch.checks.uninitialised && !self.blocks[block].shared.is_written(offset, PIECE)
        {
            return Err(self.trap(FaultKind::Uninitialised { bytes: PIECE }, 0, target));
        }
        Ok(())
    }
}

fn element(bits: u32, ty: Ty) -> f32 {
    if ty == Ty::F16 { half::f16_to_f32(bits) } else { half::bf16_to_f32(bits) }
}

/// A descriptor, which all threads of a warpgroup must give alike.
fn uniform(warps: &[Warp], col: u32) -> Result<u64, Box<Trap>> {
    let mut all = warps.iter().flat_map(|warp| &warp.wide[col as usize]);
    let first = all.next().copied().unwrap_or(0);
    if all.any(|other| *other != first) {
        return Err(wrong("expected the same descriptor from all threads of the warpgroup"));
    }
    Ok(first)
}

fn uniform_pred(warps: &[Warp], pred: u32) -> Result<bool, Box<Trap>> {
    let mut all = warps.iter().map(|warp| warp.preds[pred as usize]);
    match all.next() {
        Some(first @ (0 | u32::MAX)) if all.all(|other| other == first) => Ok(first != 0),
        _ => Err(wrong("expected the same scale-d from all threads of the warpgroup")),
    }
}

/// Calls with each sum's place in the 64 rows, its warp, its column and its lane.
fn each_sum(wgmma: &Wgmma, mut f: impl FnMut(usize, usize, usize, usize)) {
    for (i, col) in wgmma.d.iter().enumerate() {
        for warp in 0..4 {
            for lane in 0..32 {
                let row = warp * 16 + i / 2 % 2 * 8 + lane / 4;
                let column = i / 4 * 8 + lane % 4 * 2 + i % 2;
                f(row * wgmma.n as usize + column, warp, *col as usize, lane);
            }
        }
    }
}

/// The left factor from registers, laid out as that of an `mma` of 16 rows and 16 products.
fn held(warps: &[Warp], cols: &[u32; 4], ty: Ty, tracked: bool) -> Factor {
    let mut rows = vec![[0f32; K]; ROWS];
    let mut marked = vec![false; ROWS];
    for (number, warp) in warps.iter().enumerate() {
        for (i, col) in cols.iter().enumerate() {
            for lane in 0..32 {
                let row = number * 16 + i % 2 * 8 + lane / 4;
                let k = i / 2 * 8 + lane % 4 * 2;
                let bits = warp.narrow[*col as usize][lane];
                rows[row][k] = element(bits & 0xffff, ty);
                rows[row][k + 1] = element(bits >> 16, ty);
                marked[row] |= tracked && warp.narrow_taint[*col as usize][lane] != 0;
            }
        }
    }
    Factor { rows, marked }
}

/// The arithmetic, compiled for every instruction set.
struct Sums<'a> {
    /// By row, then by column.
    sums: &'a mut [f32],
    rows: &'a [[f32; K]],
    /// By k, then by column.
    columns: &'a [f32],
    n: usize,
}

impl Compiled for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (sums, row) in self.sums.chunks_exact_mut(self.n).zip(self.rows) {
            // A few columns at a time, so that their sums stay in the vector registers.
            for (first, sums) in sums.chunks_exact_mut(8).enumerate() {
                let mut own = [0f32; 8];
                own.copy_from_slice(sums);
                for (factor, columns) in row.iter().zip(self.columns.chunks_exact(self.n)) {
                    let columns = &columns[first * 8..first * 8 + 8];
                    for (sum, column) in own.iter_mut().zip(columns) {
                        *sum += factor * column;
                    }
                }
                sums.copy_from_slice(&own);
            }
        }
    }
}
