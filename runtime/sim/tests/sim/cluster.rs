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
