//! Bulk copies, of bytes and of boxes of tensors: what they move, who owns it meanwhile, what they refuse.

use bytec_sim::{AccessKind, FaultKind, Swizzle, TensorMap};

use crate::hopper::{Block, clean, faulty, says};
use crate::support::download_u32;

const BEGIN: &str = "@%p0 mbarrier.init.shared.b64 [%sa+16384], 1;\n\
    @%p0 fence.mbarrier_init.release.cluster; bar.sync 0;";
const WAIT: &str = "{ .reg .pred p; W: mbarrier.try_wait.parity.shared.b64 p, [%sa+16384], 0;\n\
    @p bra D; bra W; D: }";

/// Thread 0 copies so many bytes from `[%in+64]` to shared memory, every thread takes a word of them.
fn load(bytes: u32, wait: &str) -> String {
    format!(
        "{BEGIN} add.s64 %l0, %in, 64; @%p0 mbarrier.arrive.expect_tx.shared.b64 _, [%sa+16384], {bytes};\n\
         @%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%sa], [%l0], {bytes}, [%sa+16384];\n\
         {wait} ld.shared.b32 %r1, [%own]; st.global.b32 [%mine], %r1;"
    )
}

#[test]
fn bytes_arrive_with_their_phase() {
    let block = clean(&load(256, WAIT), 64);
    let expected: Vec<u32> = (16..80).collect();
    assert_eq!(download_u32(&block.device, block.output, 64), expected);
    // Nobody but a wait for the phase sees the end, be it the thread that issued the copy.
    for wait in ["", "bar.sync 0;", "@!%p0 ret;", &WAIT.replace("], 0", "], 1")] {
        let (access, other) = (AccessKind::Read, AccessKind::Write);
        let kind = faulty(&load(256, wait), 64);
        let owned = matches!(&kind, FaultKind::Unfinished { access: a, other: b, owner }
            if *a == access && *b == other && owner.contains("mbarrier at shared+16384"));
        // With the parity of the phase before, the wait ends at once or never.
        assert!(owned || matches!(kind, FaultKind::Barrier(_)), "{wait}: {kind}");
    }
    // One thread's wait and a barrier do for all.
    let one = format!("@!%p0 bra OVER; {WAIT} OVER: bar.sync 0;");
    clean(&load(256, &one), 64);
    let race = faulty(&load(256, &one.replace("bar.sync 0;", "")), 64);
    assert!(matches!(race, FaultKind::Unfinished { .. }), "{race}");
    // The source belongs to the copy too.
    let write =
        |before: &str| load(256, &format!("{before} @%p0 st.global.b32 [%in+64], 0; {WAIT}"));
    assert!(matches!(
        faulty(&write(""), 64),
        FaultKind::Unfinished { access: AccessKind::Write, other: AccessKind::Read, .. }
    ));
    clean(&write(&format!("{} bar.sync 0;", WAIT.replace('W', "V").replace('D', "E"))), 64);
}

#[test]
fn counts_of_bytes_and_fences_matter() {
    let wrong = |expected: u32| load(256, WAIT).replacen("], 256;", &format!("], {expected};"), 1);
    says(&wrong(512), 64, "lacks 0 arrivals and 256 bytes");
    says(&wrong(240), 64, "has 16 bytes too many");
    let unfenced = load(256, WAIT).replace("@%p0 fence.mbarrier_init.release.cluster;", "");
    says(&unfenced, 64, "expected a fence.mbarrier_init or fence.proxy.async after its init");
    clean(&load(256, WAIT).replace("fence.mbarrier_init.release.cluster", "fence.proxy.async"), 64);
    assert!(matches!(faulty(&load(8, WAIT), 64), FaultKind::Misaligned { .. }));
    let odd = load(256, WAIT).replace("%in, 64", "%in, 72");
    assert!(matches!(faulty(&odd, 64), FaultKind::Misaligned { bytes: 16, .. }));
    let outside = load(256, WAIT).replace("%in, 64", "%in, 32640");
    assert!(matches!(faulty(&outside, 64), FaultKind::OutOfBounds { .. }));
}

/// A place that copies have filled is filled again.
fn reuse(release: &str, acquire: &str) -> String {
    let again = "@%p0 mbarrier.arrive.expect_tx.shared.b64 _, [%sa+16384], 256;\n\
        @%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%sa], [%in], 256, [%sa+16384];";
    let empty = "@%p0 mbarrier.init.shared.b64 [%sa+16392], 64; bar.sync 0;";
    format!(
        "{empty} {} {release} {acquire} {again} {} ld.shared.b32 %r1, [%own]; st.global.b32 [%mine], %r1;",
        load(256, WAIT),
        WAIT.replace("], 0", "], 1").replace('W', "V").replace('D', "E"),
    )
}

#[test]
fn memory_is_not_filled_again_before_its_readers_have_said_so() {
    let release = "mbarrier.arrive.shared.b64 _, [%sa+16392];";
    let acquire = WAIT.replace("16384", "16392").replace('W', "X").replace('D', "F");
    let block = clean(&reuse(release, &acquire), 64);
    assert_eq!(download_u32(&block.device, block.output, 64), (0..64).collect::<Vec<u32>>());
    // The other lanes of the warp have read, and nothing orders that before the copy.
    let kind = faulty(&reuse("", ""), 64);
    assert!(
        matches!(kind, FaultKind::Race { access: AccessKind::Write, other: AccessKind::Read, .. }),
        "{kind}"
    );
    // Warp 0 is two phases ahead, and warp 1 waits for one that it has missed.
    for acquire in ["", &acquire.replace("], 0", "], 1")] {
        let kind = faulty(&reuse(release, acquire), 64);
        assert!(matches!(kind, FaultKind::Barrier(_)), "{kind}");
    }
}

/// Every thread writes a word, thread 0 copies them out.
fn store(fence: &str, wait: &str) -> String {
    format!(
        "st.shared.b32 [%own], %t; {fence}\n\
         @%p0 cp.async.bulk.global.shared::cta.bulk_group [%out], [%sa], 256; @%p0 cp.async.bulk.commit_group;\n\
         {wait}"
    )
}

#[test]
fn bulk_stores_read_behind_a_fence_and_belong_to_groups() {
    let (fence, all) =
        ("fence.proxy.async.shared::cta; bar.sync 0;", "@%p0 cp.async.bulk.wait_group 0;");
    let block = clean(&store(fence, all), 64);
    assert_eq!(download_u32(&block.device, block.output, 64), (0..64).collect::<Vec<u32>>());
    assert!(matches!(faulty(&store("bar.sync 0;", all), 64), FaultKind::ProxyFence { .. }));
    // The fence of one thread is not that of another.
    let own = "@%p0 fence.proxy.async.shared::cta; bar.sync 0;";
    assert!(matches!(faulty(&store(own, all), 64), FaultKind::ProxyFence { other_lane: 1, .. }));
    let kind = faulty(&store("fence.proxy.async;", all), 64);
    assert!(matches!(kind, FaultKind::Race { .. } | FaultKind::Uninitialised { .. }), "{kind}");
    // The source may be written again once it was read, the result be read once it was written.
    let read = "@%p0 cp.async.bulk.wait_group.read 0;";
    clean(&store(fence, &format!("{read} bar.sync 0; st.shared.b32 [%own], 0; {all}")), 64);
    says(
        &store(fence, "bar.sync 0; st.shared.b32 [%own], 0;"),
        64,
        "a bulk copy of warp 0 lane 0 still reads",
    );
    says(&store(fence, "@%p0 cp.async.bulk.wait_group 1; ret;"), 64, "still reads");
    says(&store(fence, &format!("{read} @%p0 ld.global.b32 %r0, [%out];")), 64, "still writes");
    clean(&store(fence, &format!("{all} @%p0 ld.global.b32 %r0, [%out];")), 64);
    says(&store(fence, ""), 64, "still reads");
    // What is read may go, but later launches are promised what this one has written.
    says(&store(fence, read), 64, "still writes");
    says(&store(fence, all).replace("@%p0 cp.async.bulk.commit_group;", ""), 64, "still reads");
}

/// A map of 16-bit elements over the input: 40 columns of rows of 48, 20 rows, a box of `columns` by 8.
fn map(block: &Block, columns: u32, swizzle: Swizzle) -> TensorMap {
    TensorMap {
        address: block.input.address(),
        element: 2,
        extents: vec![40, 20],
        strides: vec![96],
        boxes: vec![columns, 8],
        swizzle,
    }
}

fn with_map(map: impl Fn(&Block) -> TensorMap, body: &str) -> (Block, Result<(), FaultKind>) {
    let mut block = Block::new();
    let words = map(&block).encode().expect("the map is right");
    block.map = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let result = block.run(body, 128).map_err(|fault| fault.kind);
    (block, result)
}

/// Copies a box to shared memory and its bytes on from there, 16 bytes a thread.
fn load_box(x: i32, y: i32, bytes: u32) -> String {
    format!(
        "{BEGIN} mov.b32 %r2, {x}; mov.b32 %r3, {y};\n\
         @%p0 mbarrier.arrive.expect_tx.shared.b64 _, [%sa+16384], {bytes};\n\
         @%p0 cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%sa], \
         [%map, {{%r2, %r3}}], [%sa+16384];\n{WAIT}\n\
         mul.lo.u32 %r4, %t, 16; setp.lt.u32 %p4, %r4, {bytes}; @!%p4 ret; cvt.u64.u32 %l0, %r4;\n\
         add.s64 %l1, %s, %l0; add.s64 %l2, %out, %l0; ld.shared.v4.b32 {{%r5, %r6, %r7, %r8}}, [%l1];\n\
         st.global.v4.b32 [%l2], {{%r5, %r6, %r7, %r8}};"
    )
}

#[test]
fn boxes_lie_swizzled_and_are_zero_outside() {
    for (columns, swizzle) in [
        (64, Swizzle::Bytes128),
        (32, Swizzle::Bytes64),
        (16, Swizzle::Bytes32),
        (24, Swizzle::None),
    ] {
        for (x, y) in [(0, 0), (16, 4), (32, 15), (-8, -3), (40, 0), (0, 20)] {
            let (block, result) =
                with_map(|block| map(block, columns, swizzle), &load_box(x, y, columns * 16));
            assert_eq!(result, Ok(()), "{swizzle:?} {x} {y}");
            let found = download_u32(&block.device, block.output, columns as usize * 4);
            for (row, column) in (0..8).flat_map(|r| (0..columns as i32).map(move |c| (r, c))) {
                let inside = (0..40).contains(&(x + column)) && (0..20).contains(&(y + row));
                // The input counts words from zero.
                let at = ((y + row) * 48 + x + column) as u32;
                let expected = if inside { ((at / 2) >> (16 * (at % 2))) & 0xffff } else { 0 };
                let byte = (row as u32 * columns + column as u32) * 2;
                let lines = match swizzle {
                    Swizzle::None => 1,
                    Swizzle::Bytes32 => 2,
                    Swizzle::Bytes64 => 4,
                    Swizzle::Bytes128 => 8,
                };
                let byte = byte ^ (byte / 128 % lines * 16);
                let word = found[byte as usize / 4] >> (byte % 4 * 8) & 0xffff;
                assert_eq!(word, expected, "{swizzle:?} {x} {y}: {row} {column}");
            }
        }
    }
}

#[test]
fn boxes_are_stored_inside_alone() {
    let body = "mul.lo.u32 %r4, %t, 16; cvt.u64.u32 %l0, %r4; add.s64 %l1, %s, %l0;\n\
        setp.lt.u32 %p4, %t, 32; @%p4 st.shared.v4.b32 [%l1], {%t, %t, %t, %t};\n\
        fence.proxy.async.shared::cta; bar.sync 0; mov.b32 %r2, 16; mov.b32 %r3, 15;\n\
        @%p0 cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%map, {%r2, %r3}], [%sa];\n\
        @%p0 cp.async.bulk.commit_group; @%p0 cp.async.bulk.wait_group 0;";
    let (block, result) = with_map(|block| map(block, 32, Swizzle::Bytes64), body);
    assert_eq!(result, Ok(()));
    let found = block.device.download(block.input, 0..20 * 96).expect("all is written");
    for (row, column) in (0..20usize).flat_map(|row| (0..48).map(move |column| (row, column))) {
        let at = row * 48 + column;
        let value = u16::from_le_bytes([found[at * 2], found[at * 2 + 1]]);
        let expected = if row >= 15 && (16..40).contains(&column) {
            // The 16-byte piece of the box that the swizzle put here; the thread's number fills it.
            let (line, piece) = ((row - 15) / 2, (row - 15) % 2 * 4 + (column - 16) / 8);
            let number = (line * 8 + (piece ^ (line % 4))) as u32;
            number >> (column % 2 * 16)
        } else {
            (at / 2) as u32 >> (at % 2 * 16)
        };
        assert_eq!(u32::from(value), expected & 0xffff, "{row} {column}");
    }
}

#[test]
fn maps_and_their_use_are_checked() {
    let block = Block::new();
    let right = map(&block, 64, Swizzle::Bytes128);
    assert!(right.check().is_ok());
    for (change, expected) in [
        (TensorMap { address: right.address + 8, ..right.clone() }, "multiple of 16"),
        (TensorMap { strides: vec![100], ..right.clone() }, "strides that are multiples of 16"),
        (TensorMap { boxes: vec![64, 257], ..right.clone() }, "from 1 to 256"),
        (TensorMap { boxes: vec![60, 8], ..right.clone() }, "rows are multiples of 16 bytes"),
        (TensorMap { boxes: vec![32, 8], ..right.clone() }, "as long as the swizzle's span"),
        (TensorMap { extents: vec![40], ..right.clone() }, "a box of as many axes"),
        (TensorMap { extents: vec![0, 1], ..right.clone() }, "extents from 1 to 2^32"),
        (TensorMap { element: 3, ..right.clone() }, "elements of 1, 2, 4 or 8 bytes"),
    ] {
        let text = change.encode().expect_err(expected).to_string();
        assert!(text.contains(expected), "{text}");
    }
    says(&load_box(0, 0, 1024), 128, "found an address at which no tensor map lies");
    let (_, three) = with_map(
        |block| TensorMap {
            extents: vec![40, 20, 1],
            strides: vec![96, 1920],
            boxes: vec![64, 8, 1],
            ..map(block, 64, Swizzle::Bytes128)
        },
        &load_box(0, 0, 1024),
    );
    assert!(matches!(three, Err(FaultKind::TensorMap(_))), "{three:?}");
    let (_, odd) = with_map(
        |block| map(block, 64, Swizzle::Bytes128),
        &load_box(0, 0, 1024).replace("[%sa], [%map", "[%sa+64], [%map"),
    );
    assert_eq!(odd, Err(FaultKind::Misaligned { access: AccessKind::Write, bytes: 128 }));
}

#[test]
fn marks_pass_through_copies() {
    let mut block = Block::new();
    let words = map(&block, 64, Swizzle::Bytes128).encode().expect("the map is right");
    block.map = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    block.device.mark(block.input, 7 * 96..8 * 96).expect("it is inside");
    let kind = block.run(&load_box(0, 0, 1024), 128).expect_err("row 7 is marked").kind;
    assert_eq!(kind, FaultKind::Taint { what: "its value" });
    block.device.unmark(block.input).expect("it is there");
    block.device.mark(block.input, 8 * 96..9 * 96).expect("it is inside");
    assert!(block.run(&load_box(0, 0, 1024), 128).is_ok());
}
