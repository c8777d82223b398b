//! Products of warpgroups: layouts, signs, the factor in registers; fences, groups, and who owns what meanwhile.

use bytec_sim::{AccessKind, FaultKind};

use crate::hopper::Block;
use crate::support::{download_f32, noise};

/// How the elements of a factor lie in shared memory, by the pictures of the ISA.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    /// Bytes of a swizzle's span; 16 without.
    span: usize,
    /// Rows lie together, not k.
    transposed: bool,
    leading: usize,
    stride: usize,
}

impl Layout {
    /// Bytes from the tile's begin to an element.
    fn offset(self, row: usize, k: usize) -> usize {
        let Layout { span, transposed, leading, stride } = self;
        // Along the line, and the number of the line.
        let (along, line) = if transposed { (row, k) } else { (k, row) };
        let (atom, along) = (along * 2 / span, along * 2 % span);
        let turn = line % 8 * span / 128;
        let inside = line % 8 * span + ((along / 16) ^ turn) * 16 + along % 16;
        // Without a swizzle an atom is one piece wide.
        let (leading, stride) =
            if transposed && span == 16 { (stride, leading) } else { (leading, stride) };
        inside + atom * leading + line / 8 * stride
    }

    fn descriptor(self, start: usize) -> u64 {
        let mode = match self.span {
            128 => 1,
            64 => 2,
            32 => 3,
            _ => 0,
        };
        (start as u64 >> 4)
            | (self.leading as u64 >> 4) << 16
            | (self.stride as u64 >> 4) << 32
            | mode << 62
    }
}

/// Rows of k-contiguous elements as wide as the span.
fn along_k(span: usize) -> Layout {
    let (leading, stride) = if span == 16 { (128, 256) } else { (16, span * 8) };
    Layout { span, transposed: false, leading, stride }
}

/// Rows that lie together: 64 of them, 16 k.
fn along_rows(span: usize) -> Layout {
    // The atoms of one k group come after each other, then those of the next.
    let atoms = 128 / span;
    let (leading, stride) = match span {
        16 => (8 * 128, 128),
        _ => (span * 8, span * 8 * atoms),
    };
    Layout { span, transposed: true, leading, stride }
}

/// Where the right factor begins.
const RIGHT: usize = 8192;

/// Fills shared memory with the input, by a copy of 16 KiB.
const FILL: &str = "@%p0 mbarrier.init.shared.b64 [%sa+16384], 1; @%p0 fence.mbarrier_init.release.cluster;\n\
    bar.sync 0; @%p0 mbarrier.arrive.expect_tx.shared.b64 _, [%sa+16384], 16384;\n\
    @%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%sa], [%in], 16384, [%sa+16384];\n\
    { .reg .pred p; W: mbarrier.try_wait.parity.shared.b64 p, [%sa+16384], 0; @p bra D; bra W; D: }";
const WAIT: &str = "{ .reg .pred p; W: mbarrier.try_wait.parity.shared.b64 p, [%sa+16384], 0; @p bra D; bra W; D: }";
const END: &str = "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;";

fn sums(n: usize) -> String {
    let names: Vec<_> = (0..n / 2).map(|at| format!("%f{at}")).collect();
    format!("{{{}}}", names.join(", "))
}

/// Sets all sums to 1.
fn ones(n: usize) -> String {
    (0..n / 2).map(|at| format!("mov.f32 %f{at}, 0f3F800000;")).collect()
}

/// Each thread stores its sums after one another.
fn save(n: usize) -> String {
    let start =
        format!("mul.lo.u32 %r9, %t, {}; cvt.u64.u32 %l9, %r9; add.s64 %l9, %out, %l9;", n * 2);
    let each = (0..n / 2).map(|at| format!("st.global.f32 [%l9+{}], %f{at};", at * 4));
    start + &each.collect::<String>()
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    noise(count, seed).into_iter().map(|x| (x * 8.0).round()).collect()
}

struct Case {
    n: usize,
    /// 64 x k, and n x k.
    a: Vec<f32>,
    b: Vec<f32>,
    k: usize,
    bf16: bool,
}

impl Case {
    fn new(n: usize, k: usize, bf16: bool) -> Self {
        Self { n, a: numbers(64 * k, 3), b: numbers(n * k, 4), k, bf16 }
    }

    fn bits(&self, x: f32) -> [u8; 2] {
        match self.bf16 {
            true => half::bf16::from_f32(x).to_bits().to_le_bytes(),
            false => half::f16::from_f32(x).to_bits().to_le_bytes(),
        }
    }

    fn block(&self, layouts: [Layout; 2]) -> Block {
        let mut block = Block::new();
        let mut image = vec![0u8; 16384];
        for (at, (factor, layout)) in [&self.a, &self.b].into_iter().zip(layouts).enumerate() {
            for (index, x) in factor.iter().enumerate() {
                let start = at * RIGHT + layout.offset(index / self.k, index % self.k);
                image[start..start + 2].copy_from_slice(&self.bits(*x));
            }
        }
        block.device.upload(block.input, 0, &image).expect("it fits");
        block
    }

    fn product(&self, a: &str, b: &str, rest: &str) -> String {
        let ty = if self.bf16 { "bf16" } else { "f16" };
        let n = self.n;
        format!(
            "wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{ty}.{ty} {}, {a}, {b}, {rest};\n",
            sums(n)
        )
    }

    /// Sums, for each place of the result, of the first `k` products.
    fn check(&self, block: &Block, begin: f32, sign: f32) {
        let found = download_f32(&block.device, block.output, 64 * self.n);
        for thread in 0..128 {
            for at in 0..self.n / 2 {
                let row = thread / 32 * 16 + thread % 32 / 4 + at / 2 % 2 * 8;
                let column = at / 4 * 8 + thread % 4 * 2 + at % 2;
                let (a, b) =
                    (&self.a[row * self.k..][..self.k], &self.b[column * self.k..][..self.k]);
                let sum: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert_eq!(found[thread * self.n / 2 + at], begin + sign * sum, "{row} {column}");
            }
        }
    }
}

/// A right one: 64 x 64 x 64 with both factors swizzled by 128 bytes, four products in one group.
fn usual() -> (Case, Block, String) {
    let case = Case::new(64, 64, false);
    let layout = along_k(128);
    let block = case.block([layout; 2]);
    let mut body = format!("{FILL} {} wgmma.fence.sync.aligned;\n", ones(64));
    for k in 0..4 {
        let (a, b) = (layout.descriptor(k * 32), layout.descriptor(RIGHT + k * 32));
        body += &format!("mov.b64 %l0, {a:#x}; mov.b64 %l1, {b:#x};\n");
        body += &case.product("%l0", "%l1", "1, 1, 1, 0, 0");
    }
    body += &format!("{END}\n{}", save(64));
    (case, block, body)
}

#[track_caller]
fn fault(body: &str) -> FaultKind {
    usual().1.run(body, 128).expect_err(body).kind
}

#[test]
fn tiles_of_every_swizzle_are_multiplied() {
    for bf16 in [false, true] {
        for (n, span) in [(64, 128), (64, 64), (24, 32), (8, 16), (64, 16)] {
            let k = if span == 16 { 16 } else { span / 2 };
            let case = Case::new(n, k, bf16);
            let layout = along_k(span);
            let mut block = case.block([layout; 2]);
            let mut body = format!("{FILL} {} wgmma.fence.sync.aligned;\n", ones(n));
            for step in 0..k / 16 {
                let (a, b) = (layout.descriptor(step * 32), layout.descriptor(RIGHT + step * 32));
                body += &format!("mov.b64 %l0, {a:#x}; mov.b64 %l1, {b:#x};\n");
                body += &case.product("%l0", "%l1", "1, 1, 1, 0, 0");
            }
            body += &format!("{END}\n{}", save(n));
            block.run(&body, 128).unwrap_or_else(|fault| panic!("{n} {span}: {fault}"));
            case.check(&block, 1.0, 1.0);
        }
    }
}

#[test]
fn factors_may_lie_along_their_rows() {
    for span in [128, 64, 32, 16] {
        for [left, right] in [[true, true], [true, false], [false, true]] {
            let case = Case::new(64, 16, true);
            let pick = |transposed| if transposed { along_rows(span) } else { along_k(16) };
            let layouts = [pick(left), pick(right)];
            let mut block = case.block(layouts);
            let (a, b) = (layouts[0].descriptor(0), layouts[1].descriptor(RIGHT));
            let flags = format!("1, 1, 1, {}, {}", u8::from(left), u8::from(right));
            let body = format!(
                "{FILL} {} mov.b64 %l0, {a:#x}; mov.b64 %l1, {b:#x}; wgmma.fence.sync.aligned;\n{}{END}\n{}",
                ones(64),
                case.product("%l0", "%l1", &flags),
                save(64)
            );
            block.run(&body, 128).unwrap_or_else(|fault| panic!("{span}: {fault}"));
            case.check(&block, 1.0, 1.0);
        }
    }
}

/// Loads the left factor, which lies unswizzled, to `%r0` to `%r3` as an mma has it.
const HOLD: &str = "and.b32 %r10, %t, 31; shr.u32 %r11, %t, 5; shl.b32 %r11, %r11, 9; shr.u32 %r12, %r10, 2;\n\
    shl.b32 %r12, %r12, 4; and.b32 %r10, %r10, 3; shl.b32 %r10, %r10, 2; add.u32 %r10, %r10, %r11;\n\
    add.u32 %r10, %r10, %r12; ld.shared.b32 %r0, [%r10]; ld.shared.b32 %r1, [%r10+256];\n\
    ld.shared.b32 %r2, [%r10+128]; ld.shared.b32 %r3, [%r10+384];\n";

#[test]
fn the_left_factor_may_be_in_registers_and_either_be_negated() {
    let layouts = [along_k(16); 2];
    for (rest, begin, sign) in [
        ("1, 1, 1, 0", 1.0, 1.0),
        ("0, 1, 1, 0", 0.0, 1.0),
        ("%p5, -1, 1, 0", 0.0, -1.0),
        ("!%p5, 1, -1, 0", 1.0, -1.0),
    ] {
        let case = Case::new(16, 16, false);
        let mut block = case.block(layouts);
        let body = format!(
            "{FILL} {HOLD} {} setp.eq.u32 %p5, 1, 2; mov.b64 %l1, {:#x}; wgmma.fence.sync.aligned;\n{}{END}\n{}",
            ones(16),
            layouts[1].descriptor(RIGHT),
            case.product("{%r0, %r1, %r2, %r3}", "%l1", rest),
            save(16)
        );
        block.run(&body, 128).unwrap_or_else(|fault| panic!("{rest}: {fault}"));
        case.check(&block, begin, sign);
        // The registers are the product's until it is done.
        let early = body.replace(END, &format!("mov.b32 %r3, 0; {END}"));
        let access = AccessKind::Write;
        let kind = case.block(layouts).run(&early, 128).expect_err("too early").kind;
        assert_eq!(kind, FaultKind::RegisterInFlight { access });
    }
}

#[test]
fn registers_belong_to_products_in_flight() {
    let (case, mut block, body) = usual();
    block.run(&body, 128).unwrap_or_else(|fault| panic!("{fault}"));
    case.check(&block, 1.0, 1.0);
    let kind = fault(&body.replace("wgmma.fence.sync.aligned;", ""));
    assert_eq!(kind, FaultKind::RegisterFence);
    // A sum that was read is not changed before a fence, even by a product that begins anew.
    let again = |fence: &str| {
        let next = case.product("%l0", "%l1", "0, 1, 1, 0, 0");
        body.replace(END, &format!("{END} add.f32 %f100, %f3, %f3; {fence} {next} {END}"))
    };
    assert_eq!(fault(&again("")), FaultKind::RegisterFence);
    assert!(usual().1.run(&again("wgmma.fence.sync.aligned;"), 128).is_ok());
    let wait = "wgmma.wait_group.sync.aligned 0;";
    for (instead, access) in [
        ("", AccessKind::Read),
        ("wgmma.wait_group.sync.aligned 1;", AccessKind::Read),
        ("add.f32 %f100, %f3, %f3;", AccessKind::Read),
        ("add.f32 %f3, %f101, %f101;", AccessKind::Write),
        // A copy of a sum in flight is in flight too.
        ("mov.f32 %f100, %f3; add.f32 %f101, %f100, %f100;", AccessKind::Read),
    ] {
        let kind = fault(&body.replace(wait, instead));
        assert_eq!(kind, FaultKind::RegisterInFlight { access }, "{instead}");
    }
    let kind = fault(&body.replace("wgmma.commit_group.sync.aligned;", ""));
    assert_eq!(kind, FaultKind::RegisterInFlight { access: AccessKind::Read });
}

#[test]
fn shared_memory_belongs_to_products_in_flight() {
    let (_, _, body) = usual();
    let store = "st.shared.b32 [%own], 0;";
    let kind = fault(&body.replace(END, &format!("wgmma.commit_group.sync.aligned; {store}")));
    let owned = matches!(&kind, FaultKind::Unfinished { access: AccessKind::Write, other: AccessKind::Read, owner }
        if owner == "a wgmma of warpgroup 0");
    assert!(owned, "{kind}");
    let mut block = usual().1;
    let after = body.replace(END, &format!("{END} {store}"));
    assert!(block.run(&after, 128).is_ok());
    // The tile has not come yet for somebody who did not wait for it.
    let kind = fault(&body.replace(WAIT, ""));
    assert!(
        matches!(kind, FaultKind::Unfinished { .. } | FaultKind::Uninitialised { .. }),
        "{kind}"
    );
    // What threads store is seen behind a fence of the one who stored.
    let stored = |fence: &str| {
        body.replace("wgmma.fence", &format!("{store} {fence} bar.sync 0; wgmma.fence"))
    };
    assert!(matches!(fault(&stored("")), FaultKind::ProxyFence { .. }));
    assert!(matches!(
        fault(&stored("@%p1 fence.proxy.async;")),
        FaultKind::ProxyFence { other_lane: 1, .. }
    ));
    assert!(usual().1.run(&stored("fence.proxy.async.shared::cta;"), 128).is_ok());
}

#[test]
fn descriptors_are_checked_and_mean_what_they_say() {
    let (case, _, body) = usual();
    let tile = along_k(128);
    let told = |from: u64, to: u64| {
        let mut block = usual().1;
        let body = body.replace(&format!("{from:#x}"), &format!("{to:#x}"));
        block.run(&body, 128).map(|()| block).map_err(|fault| fault.to_string())
    };
    let first = tile.descriptor(0);
    let text = told(first, tile.descriptor(256)).expect_err("the pattern does not begin there");
    assert!(text.contains("begins at a multiple of 1024 bytes for its swizzle"), "{text}");
    let text = told(first, first | 1 << 49).expect_err("a base offset");
    assert!(text.contains("base offset of 0"), "{text}");
    let text = told(first, tile.descriptor(32 * 1024)).expect_err("outside");
    assert!(text.contains("outside"), "{text}");
    // Another swizzle, or another stride, are other numbers.
    for other in [Layout { span: 64, ..tile }, Layout { stride: 512, ..tile }] {
        let block = told(first, other.descriptor(0)).expect("it reads what is there");
        let right = std::panic::catch_unwind(|| case.check(&block, 1.0, 1.0));
        assert!(right.is_err(), "{other:?}");
    }
    let kind = fault(&body.replace("mov.b64 %l0", "cvt.u64.u32 %l0, %t; @%p0 mov.b64 %l0"));
    assert!(matches!(kind, FaultKind::Wgmma(_)), "{kind}");
    let mut half = usual().1;
    let kind = half.run(&body, 64).expect_err("two warps").kind;
    assert!(matches!(kind, FaultKind::Barrier(_)), "{kind}");
}

#[test]
fn marks_pass_through_products_by_row_and_column() {
    let (_, _, body) = usual();
    let run = |row: u64, guard: &str| {
        let mut block = usual().1;
        block.device.mark(block.input, row * 128..row * 128 + 128).expect("it is inside");
        block.run(&body.replace("st.global", &format!("{guard} st.global")), 128)
    };
    // Row 63 is in the eighth rows of the last warp; its threads are the last four.
    let kind = run(63, "").expect_err("row 63 is marked").kind;
    assert_eq!(kind, FaultKind::Taint { what: "its value" });
    let rows = run(63, "setp.lt.u32 %p4, %t, 124; @%p4");
    assert!(rows.is_ok(), "{rows:?}");
    let kind = run(63, "setp.lt.u32 %p4, %t, 125; @%p4").expect_err("thread 124 has it").kind;
    assert_eq!(kind, FaultKind::Taint { what: "its value" });
}
