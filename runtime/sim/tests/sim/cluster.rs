//! Clusters: blocks that reach each other's shared memory, their barrier, and what they refuse.

use bytec_sim::{AccessKind, FaultKind};

use crate::hopper::Block;
use crate::support::download_u32;

/// All of a cluster's lanes meet.
const MEET: &str = "barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;";

/// The block's rank in `%r60`, the next one's in `%r61`, and where shared memory lies there in `%r62`; `%r63` is the
/// thread's own word there.
const NEXT: &str = "mov.u32 %r60, %cluster_ctarank; mov.u32 %r59, %cluster_nctarank;\n\
    add.u32 %r61, %r60, 1; rem.u32 %r61, %r61, %r59; mapa.shared::cluster.u32 %r62, %sa, %r61;\n\
    add.u32 %r63, %r62, %four;";

/// Writes `%r1` to the thread's word of the output, blocks after each other.
const WRITE: &str = "mov.u32 %r50, %ctaid.x; mov.u32 %r51, %ntid.x; mul.lo.u32 %r50, %r50, %r51;\n\
    mul.wide.u32 %l10, %r50, 4; add.s64 %l10, %l10, %mine; st.global.b32 [%l10], %r1;";

fn run(body: &str, threads: u32, blocks: u32) -> (Block, Result<(), FaultKind>) {
    let mut block = Block::new();
    let directives = format!(".explicitcluster\n.reqnctapercluster {blocks}, 1, 1");
    let ran = block.run_clusters(body, threads, &directives, blocks);
    (block, ran.map_err(|fault| fault.kind))
}

#[track_caller]
fn clean(body: &str, threads: u32, blocks: u32) -> Vec<u32> {
    let (block, ran) = run(body, threads, blocks);
    if let Err(fault) = ran {
        panic!("{body}: {fault}");
    }
    download_u32(&block.device, block.output, (threads * blocks) as usize)
}

#[track_caller]
fn faulty(body: &str, threads: u32, blocks: u32) -> FaultKind {
    run(body, threads, blocks).1.expect_err(body)
}

/// Every thread writes a word to its own block, and reads that of the next.
fn exchange(between: &str, end: &str) -> String {
    format!(
        "{NEXT} mad.lo.u32 %r0, %r60, 1000, %t; st.shared.b32 [%own], %r0; {between}\n\
         ld.shared::cluster.b32 %r1, [%r63]; {WRITE} {end}"
    )
}

#[test]
fn blocks_read_each_others_shared_memory() {
    for blocks in [2, 3, 8] {
        let found = clean(&exchange(MEET, MEET), 64, blocks);
        let expected = (0..blocks).flat_map(|block| (0..64).map(move |t| (block, t)));
        let expected = expected.map(|(block, t)| (block + 1) % blocks * 1000 + t);
        assert_eq!(found, expected.collect::<Vec<u32>>(), "{blocks}");
    }
    // The same through generic addresses, and through 64-bit ones of the window.
    let generic = exchange(MEET, MEET).replace(
        "ld.shared::cluster.b32 %r1, [%r63];",
        "cvta.shared.u64 %l0, %own; mapa.u64 %l1, %l0, %r61; ld.b32 %r1, [%l1];",
    );
    assert_eq!(clean(&generic, 64, 2), clean(&exchange(MEET, MEET), 64, 2));
    // Unaligned forms, in lanes that go different ways.
    let apart = "@%p1 bra ONE; barrier.cluster.arrive; barrier.cluster.wait; bra MET;\n\
        ONE: barrier.cluster.arrive; barrier.cluster.wait; MET:";
    clean(&exchange(apart, MEET), 64, 2);
    // An address of the own block is one of the cluster's too.
    clean(&format!("st.shared.b32 [%own], %t; ld.shared::cluster.b32 %r1, [%own]; {WRITE}"), 64, 2);
}

#[test]
fn special_registers_and_ranks() {
    let body = "mov.u32 %r0, %clusterid.x; mov.u32 %r2, %nclusterid.x; mov.u32 %r3, %cluster_ctaid.x;\n\
        mov.u32 %r4, %cluster_nctaid.x; mov.u32 %r5, %cluster_ctarank; mov.u32 %r6, %cluster_nctarank;\n\
        mov.u32 %r7, 3; mapa.shared::cluster.u32 %r8, %sa, %r5; getctarank.shared::cluster.u32 %r8, %r8;\n\
        getctarank.shared::cluster.u32 %r9, %sa; cvta.shared.u64 %l0, %s; mapa.u64 %l0, %l0, 1;\n\
        getctarank.u64 %r10, %l0;\n\
        mov.u32 %r1, 0; mad.lo.u32 %r1, %r1, 10, %r0; mad.lo.u32 %r1, %r1, 10, %r2;\n\
        mad.lo.u32 %r1, %r1, 10, %r3; mad.lo.u32 %r1, %r1, 10, %r4; mad.lo.u32 %r1, %r1, 10, %r5;\n\
        mad.lo.u32 %r1, %r1, 10, %r6; mad.lo.u32 %r1, %r1, 10, %r8; mad.lo.u32 %r1, %r1, 10, %r9;\n\
        mad.lo.u32 %r1, %r1, 10, %r10;";
    let mut block = Block::new();
    let text = format!("{body} {WRITE}");
    block
        .run_clusters(&text, 1, ".reqnctapercluster 2", 6)
        .unwrap_or_else(|fault| panic!("{fault}"));
    let found = download_u32(&block.device, block.output, 6);
    let digits = |c: u32, r: u32| {
        [c, 3, r, 2, r, 2, r, r, 1].iter().fold(0, |number, digit| number * 10 + digit)
    };
    let expected: Vec<u32> = (0..3).flat_map(|c| [digits(c, 0), digits(c, 1)]).collect();
    assert_eq!(found, expected);
    let kind = faulty("mapa.shared::cluster.u32 %r8, %sa, 2;", 1, 2);
    assert_eq!(kind, FaultKind::Rank { rank: 2, blocks: 2 });
    // A mapped address is none of the own block's.
    let body = format!("{NEXT} {MEET} ld.shared.b32 %r1, [%r63];");
    assert!(matches!(faulty(&body, 32, 2), FaultKind::OutOfBounds { .. }));
}

#[test]
fn launches_hold_clusters_against_the_grid() {
    let mut block = Block::new();
    for (directive, grid) in [(".reqnctapercluster 2, 1, 1", 3), (".reqnctapercluster 16", 16)] {
        let fault = block.run_clusters("", 32, directive, grid).expect_err(directive);
        assert!(matches!(fault.kind, FaultKind::Launch { .. }), "{fault}");
    }
}

#[test]
fn what_the_barrier_does_not_order_is_a_race() {
    // Without it the next block need not have begun.
    let kind = faulty(&exchange("", MEET), 64, 2);
    assert!(matches!(kind, FaultKind::NotBegun { access: AccessKind::Read, .. }), "{kind}");
    // The barrier of the block is not that of the cluster.
    let kind =
        faulty(&exchange(&format!("{MEET} st.shared.b32 [%own], %t; bar.sync 0;"), MEET), 64, 2);
    let (access, other) = (AccessKind::Write, AccessKind::Read);
    let expected = |kind: &FaultKind| {
        matches!(kind, FaultKind::ClusterRace { access: a, other: o, .. }
            if (*a, *o) == (access, other) || (*o, *a) == (access, other))
    };
    assert!(expected(&kind), "{kind}");
    // A relaxed arrival orders nothing.
    let relaxed = exchange(&MEET.replace("arrive.release", "arrive.relaxed"), MEET);
    let kind = faulty(&relaxed, 64, 2);
    assert!(expected(&kind), "{kind}");
    // Nor does what comes after the arrival.
    let late = "barrier.cluster.arrive; st.shared.b32 [%own], 1; barrier.cluster.wait;";
    assert!(expected(&faulty(&exchange(late, MEET), 64, 2)));
    // Global memory is ordered by it too, within the cluster.
    let hand_over = |between: &str| {
        format!("{NEXT} mov.u32 %r1, %t; {WRITE} {between} ld.global.b32 %r2, [%out];")
    };
    clean(&hand_over(MEET), 32, 2);
    assert!(matches!(faulty(&hand_over("bar.sync 0;"), 32, 2), FaultKind::ClusterRace { .. }));
}

#[test]
fn blocks_stay_until_their_peers_are_done() {
    // Block 1 returns while block 0 may still read there, or has returned before.
    let kind = faulty(&exchange(MEET, ""), 64, 2);
    assert!(matches!(kind, FaultKind::Returned { .. } | FaultKind::Outlived { .. }), "{kind}");
    let wait = "mov.u32 %r2, 0; S: add.u32 %r2, %r2, 1; setp.lt.u32 %p6, %r2, 5; @%p6 bra S;";
    let body = exchange(&format!("{MEET} setp.eq.u32 %p5, %r60, 0; @!%p5 bra ON; {wait} ON:"), "");
    assert!(matches!(
        faulty(&body, 32, 2),
        FaultKind::Outlived { .. } | FaultKind::Returned { .. }
    ));
    // An arrival without a wait does not keep the block.
    let kind = faulty(&exchange(MEET, "barrier.cluster.arrive;"), 64, 2);
    assert!(matches!(kind, FaultKind::Outlived { .. }), "{kind}");
    // The one who reads arrives, the other one waits.
    let body = exchange(
        MEET,
        "barrier.cluster.arrive; setp.eq.u32 %p5, %r60, 0; @%p5 barrier.cluster.wait;",
    )
    .replace("ld.shared", "setp.eq.u32 %p6, %r60, 1; @%p6 ld.shared")
    .replace("%r1, [%r63];", "%r1, [%r63]; @!%p6 mov.u32 %r1, 0;");
    clean(&body, 64, 2);
}

#[test]
fn the_barrier_is_used_as_it_must_be() {
    let barrier = |body: &str, text: &str| {
        let kind = faulty(body, 64, 2);
        assert!(kind.to_string().contains(text), "{body}: {kind}");
    };
    barrier("barrier.cluster.wait;", "expected an arrival of the lane before its wait");
    barrier(
        "barrier.cluster.arrive; barrier.cluster.arrive;",
        "expected a wait of the lane after its last arrival",
    );
    // Block 1 waits for ever for a warp of block 0 that waits for something else.
    barrier(
        "mov.u32 %r0, %cluster_ctarank; setp.eq.u32 %p4, %r0, 0; setp.eq.u32 %p5, %warp, 1;\n\
         and.pred %p4, %p4, %p5; @%p4 bar.sync 1; barrier.cluster.arrive; barrier.cluster.wait;",
        "waits at the cluster's barrier, which lacks 32 lanes",
    );
    assert!(matches!(
        faulty("@%p1 barrier.cluster.arrive.aligned;", 64, 2),
        FaultKind::DivergentBarrier { .. }
    ));
    // Lanes that return are not waited for.
    clean(&format!("setp.eq.u32 %p4, %warp, 1; mov.u32 %r1, 5; {WRITE} @%p4 ret; {MEET}"), 64, 2);
}

/// Waits for a parity of the mbarrier behind 16 KiB of the block's memory.
fn wait(parity: u32, name: &str) -> String {
    format!(
        "{name}: mbarrier.try_wait.parity.shared::cta.b64 %p7, [%sa+16384], {parity}; @!%p7 bra {name};"
    )
}

/// Thread 0 of every block makes an mbarrier behind 16 KiB of its memory, and all may use all of them then.
fn make(count: u32) -> String {
    format!(
        "{NEXT} @%p0 mbarrier.init.shared::cta.b64 [%sa+16384], {count};\n\
         @%p0 fence.mbarrier_init.release.cluster; barrier.cluster.arrive.relaxed.aligned;\n\
         barrier.cluster.wait.acquire.aligned; add.u32 %r58, %r62, 16384;"
    )
}

#[test]
fn arrivals_at_another_blocks_mbarrier_hand_over() {
    // Every thread writes into the next block and arrives there.
    let body = |arrive: &str, wait: &str, end: &str| {
        format!(
            "{} mad.lo.u32 %r0, %r60, 1000, %t; st.shared::cluster.b32 [%r63], %r0;\n\
             {arrive} {wait} ld.shared.b32 %r1, [%own]; {WRITE} {end}",
            make(64)
        )
    };
    let arrive = "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r58];";
    let found = clean(&body(arrive, &wait(0, "W"), MEET), 64, 2);
    let expected: Vec<u32> = (0..128).map(|t| (1 - t / 64) * 1000 + t % 64).collect();
    assert_eq!(found, expected);
    // No end is needed: each block waits for all that reaches into it.
    clean(&body(arrive, &wait(0, "W"), ""), 64, 2);
    // Unless somebody arrives there again, after the phase that is waited for: that may come when the block is gone.
    let again = format!("{} @%p0 mbarrier.arrive.shared::cluster.b64 _, [%r58];", wait(0, "W"));
    let kind = faulty(&body(arrive, &again, ""), 64, 2);
    assert!(matches!(kind, FaultKind::Outlived { .. } | FaultKind::Returned { .. }), "{kind}");
    clean(&body(arrive, &again, MEET), 64, 2);
    let kind = faulty(&body(arrive, &wait(1, "W"), MEET), 64, 2);
    assert!(
        matches!(kind, FaultKind::ClusterRace { .. } | FaultKind::Uninitialised { .. }),
        "{kind}"
    );
    assert!(matches!(faulty(&body("", &wait(0, "W"), MEET), 64, 2), FaultKind::Barrier(_)));
    // Without the fence a relaxed barrier shows nobody that the mbarrier is there.
    let unfenced =
        body(arrive, &wait(0, "W"), MEET).replace("@%p0 fence.mbarrier_init.release.cluster;", "");
    let kind = faulty(&unfenced, 64, 2);
    assert!(matches!(kind, FaultKind::Race { .. } | FaultKind::ClusterRace { .. }), "{kind}");
    // Another block's mbarrier takes arrivals alone.
    for operation in [
        "Q: mbarrier.try_wait.parity.shared::cluster.b64 %p7, [%r58], 0; @!%p7 bra Q;",
        "mbarrier.arrive.shared::cluster.b64 %l0, [%r58];",
    ] {
        let kind = faulty(&body(operation, "", MEET), 64, 2);
        assert!(kind.to_string().contains("of the own block"), "{operation}: {kind}");
    }
}

#[test]
fn asynchronous_stores_complete_where_they_go() {
    let body = |store: &str, expect: u32, wait: &str| {
        format!(
            "{} @%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%sa+16384], {expect};\n\
             mad.lo.u32 %r0, %r60, 1000, %t; {store} {wait} ld.shared.b32 %r1, [%own]; {WRITE} {MEET}",
            make(1)
        )
    };
    let store =
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b32 [%r63], %r0, [%r58];";
    let found = clean(&body(store, 256, &wait(0, "W")), 64, 2);
    assert_eq!(found, (0..128).map(|t| (1 - t / 64) * 1000 + t % 64).collect::<Vec<u32>>());
    let kind = faulty(&body(store, 260, &wait(0, "W")), 64, 2);
    assert!(kind.to_string().contains("lacks 0 arrivals and 4 bytes"), "{kind}");
    // The cluster's barrier knows nothing of it.
    let kind = faulty(&body(store, 256, MEET), 64, 2);
    assert!(matches!(kind, FaultKind::Unfinished { .. }), "{kind}");
    let elsewhere = store.replace("[%r58]", "[%sa+16384]");
    let kind = faulty(&body(&elsewhere, 256, &wait(0, "W")), 64, 2);
    assert!(kind.to_string().contains("in the block that the bytes go to"), "{kind}");
}

#[test]
fn copies_reach_several_blocks_and_other_blocks() {
    let expect = "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%sa+16384], 256;";
    let end = format!("{} ld.shared.b32 %r1, [%own]; {WRITE} {MEET}", wait(0, "W"));
    // Block 0 copies to those of a mask.
    let multicast = |mask: u32, blocks: u32, end: &str| {
        let body = format!(
            "{} {expect} setp.eq.u32 %p4, %r60, 0; and.pred %p4, %p4, %p0; mov.b32 %r2, {mask};\n\
             cvt.u16.u32 %h0, %r2;\n\
             @%p4 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster \
             [%sa], [%in], 256, [%sa+16384], %h0; {end}",
            make(1)
        );
        run(&format!(".reg .b16 %h0; {body}"), 64, blocks)
    };
    let (block, ran) = multicast(0b111, 3, &end);
    assert_eq!(ran, Ok(()));
    let words: Vec<u32> = (0..64).collect();
    assert_eq!(download_u32(&block.device, block.output, 192), words.repeat(3));
    let kind = multicast(0b011, 3, &end).1.expect_err("block 2 gets nothing");
    assert!(kind.to_string().contains("lacks 0 arrivals and 256 bytes"), "{kind}");
    let kind = multicast(0b1011, 3, &end).1.expect_err("there is no block 3");
    assert_eq!(kind, FaultKind::Rank { rank: 3, blocks: 3 });
    // A block that does not wait may be gone when the bytes come.
    let some = format!("setp.eq.u32 %p5, %r60, 1; @%p5 ret; {}", end.replace(MEET, ""));
    let kind = multicast(0b111, 3, &some).1.expect_err("block 1 returns");
    assert!(matches!(kind, FaultKind::Outlived { .. } | FaultKind::Returned { .. }), "{kind}");
    // From block to block.
    let copy = |fence: &str| {
        format!(
            "{} {expect} mad.lo.u32 %r0, %r60, 1000, %t; add.u32 %r2, %sa, 8192; add.u32 %r3, %r2, %four;\n\
             st.shared.b32 [%r3], %r0; {fence} bar.sync 0;\n\
             @%p0 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r62], [%r2], 256, [%r58];\n\
             {end}",
            make(1)
        )
    };
    let found = clean(&copy("fence.proxy.async;"), 64, 2);
    assert_eq!(found, (0..128).map(|t| (1 - t / 64) * 1000 + t % 64).collect::<Vec<u32>>());
    assert!(matches!(faulty(&copy(""), 64, 2), FaultKind::ProxyFence { .. }));
}

/// Every thread writes a word to global memory, and thread 0 of each block copies what the next block's threads wrote.
#[test]
fn copies_read_what_other_blocks_wrote_behind_a_fence_and_a_barrier() {
    let pass = |fence: &str, between: &str| {
        format!(
            "{NEXT} @%p0 mbarrier.init.shared.b64 [%sa+16384], 1; @%p0 fence.mbarrier_init.release.cluster;\n\
             mad.lo.u32 %r1, %r60, 1000, %t; {WRITE} {fence} {between}\n\
             mul.wide.u32 %l9, %r61, 256; add.s64 %l9, %l9, %out;\n\
             @%p0 mbarrier.arrive.expect_tx.shared.b64 _, [%sa+16384], 256;\n\
             @%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%sa], [%l9], 256, [%sa+16384];\n\
             {{ .reg .pred p; W: mbarrier.try_wait.parity.shared.b64 p, [%sa+16384], 0;\n\
             @p bra D; bra W; D: }}\n\
             ld.shared.b32 %r1, [%own]; {MEET} {WRITE}"
        )
    };
    for fence in ["fence.proxy.async.global;", "fence.proxy.async;"] {
        let found = clean(&pass(fence, MEET), 64, 2);
        assert_eq!(found, (0..128).map(|t| (1 - t / 64) * 1000 + t % 64).collect::<Vec<u32>>());
    }
    assert!(matches!(faulty(&pass("", MEET), 64, 2), FaultKind::ProxyFence { .. }));
    // The fence of one thread is not that of another, and one behind the barrier shows nothing.
    let one = faulty(&pass("@%p0 fence.proxy.async.global;", MEET), 64, 2);
    assert!(matches!(one, FaultKind::ProxyFence { other_lane: 1, .. }), "{one}");
    let late = faulty(&pass("", &format!("{MEET} fence.proxy.async.global;")), 64, 2);
    assert!(matches!(late, FaultKind::ProxyFence { .. }), "{late}");
    let race = faulty(&pass("fence.proxy.async.global;", "bar.sync 0;"), 64, 2);
    assert!(
        matches!(race, FaultKind::ClusterRace { .. } | FaultKind::Uninitialised { .. }),
        "{race}"
    );
}

#[test]
fn matrices_are_stored_as_they_are_loaded() {
    for trans in ["", ".trans"] {
        // Lane i has the words 4 i to 4 i + 3 of the input; row i of the 32 rows lies at 16 i.
        let body = format!(
            "mul.wide.u32 %l0, %t, 16; add.s64 %l1, %in, %l0; ld.global.v4.b32 {{%r0, %r1, %r2, %r3}}, [%l1];\n\
             mad.lo.u32 %r4, %t, 16, %sa; stmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 [%r4], {{%r0, %r1, %r2, %r3}};\n\
             bar.warp.sync -1; ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {{%r5, %r6, %r7, %r8}}, [%r4];\n\
             add.s64 %l2, %out, %l0; st.global.v4.b32 [%l2], {{%r5, %r6, %r7, %r8}};"
        );
        let block = crate::hopper::clean(&body, 32);
        let words: Vec<u32> = (0..128).collect();
        assert_eq!(download_u32(&block.device, block.output, 128), words, "{trans}");
    }
    let race = "mad.lo.u32 %r4, %t, 16, %sa; stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r4], {%t};\n\
        ld.shared.b32 %r0, [%sa];";
    assert!(matches!(crate::hopper::faulty(race, 32), FaultKind::Race { .. }));
}
