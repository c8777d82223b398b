//! mbarriers: arrivals, phases, what they order, and what they refuse.

use bytec_sim::{AccessKind, FaultKind};

use crate::hopper::{clean, faulty, says};
use crate::support::download_u32;

/// The mbarrier lies behind 16 KiB of memory; thread 0 initialises it.
fn begin(count: u32) -> String {
    format!(
        "@%p0 mbarrier.init.shared::cta.b64 [%sa+16384], {count};\n\
         @%p0 fence.mbarrier_init.release.cluster; bar.sync 0;"
    )
}

/// Waits for a parity of the mbarrier.
fn wait(parity: u32) -> String {
    format!(
        "{{ .reg .pred p; W: mbarrier.try_wait.parity.shared::cta.b64 p, [%sa+16384], {parity};\n\
         @p bra D; bra W; D: }}"
    )
}

const ARRIVE: &str = "mbarrier.arrive.shared::cta.b64 _, [%sa+16384];";

/// Warp 0 writes, arrives, and warp 1 waits and reads.
fn hand_over(arrive: &str, wait: &str) -> String {
    format!(
        "{} setp.eq.u32 %p4, %warp, 1; @%p4 bra READ; st.shared.b32 [%own], %t; {arrive} ret;\n\
         READ: {wait} ld.shared.b32 %r1, [%own+-128]; st.global.b32 [%mine+-128], %r1;",
        begin(32)
    )
}

#[test]
fn a_wait_sees_what_came_before_the_arrivals() {
    let block = clean(&hand_over(ARRIVE, &wait(0)), 64);
    let expected: Vec<u32> = (0..32).collect();
    assert_eq!(download_u32(&block.device, block.output, 32), expected);
    // The phase before the first has parity 1 and counts as complete: nothing was handed over then. Here the reader
    // comes first.
    let early =
        hand_over(ARRIVE, &wait(1)).replace("%warp, 1", "%warp, 0").replace("+-128", "+128");
    let (access, other) = (AccessKind::Write, AccessKind::Read);
    let kind = faulty(&early, 64);
    assert!(matches!(kind, FaultKind::Uninitialised { .. }), "{kind}");
    let early = early.replace("bar.sync 0;", "st.shared.b32 [%own], 0; bar.sync 0;");
    let kind = faulty(&early, 64);
    assert!(
        matches!(kind, FaultKind::Race { access: a, other: b, .. } if (a, b) == (access, other)),
        "{kind}"
    );
    // Nor does a wait hand anything over whose answer is not looked at.
    let hasty = "mbarrier.try_wait.parity.shared.b64 %p5, [%sa+16384], 0;";
    let kind = faulty(&early.replace(&wait(1), hasty), 64);
    assert!(matches!(kind, FaultKind::Race { .. }), "{kind}");
    // What comes after the arrival is not published.
    let late = format!("{ARRIVE} st.shared.b32 [%own], %t;");
    assert!(matches!(faulty(&hand_over(&late, &wait(0)), 64), FaultKind::Race { .. }));
    // One lane arrives for all: only its own store is published without a synchronisation of the warp.
    let one = "@%p1 mbarrier.arrive.shared::cta.b64 _, [%sa+16384], 32;";
    assert!(matches!(faulty(&hand_over(one, &wait(0)), 64), FaultKind::Race { .. }));
    clean(&hand_over(&format!("bar.warp.sync -1; {one}"), &wait(0)), 64);
    let own = hand_over(one, &wait(0)).replace("ld.shared", "@%p1 ld.shared");
    clean(&own.replace("st.global", "@%p1 st.global"), 64);
}

#[test]
fn phases_follow_each_other() {
    // A round trip: the phase of a state, then parities, then fewer arrivals.
    let body = format!(
        "{} mbarrier.arrive.release.cta.shared::cta.b64 %l0, [%sa+16384];\n\
         S: mbarrier.test_wait.acquire.cta.shared::cta.b64 %p5, [%sa+16384], %l0; @!%p5 bra S;\n\
         {ARRIVE} {} setp.lt.u32 %p6, %t, 32; @%p6 bra LESS; mbarrier.arrive_drop.shared.b64 _, [%sa+16384]; ret;\n\
         LESS: {ARRIVE} {} {ARRIVE} {}",
        begin(64),
        wait(1),
        wait(0).replace('W', "V").replace('D', "E"),
        wait(1).replace('W', "X").replace('D', "F"),
    );
    clean(&body, 64);
    // Bytes that are expected and come end a phase too; only then.
    let bytes = |come: u32| {
        format!(
            "{} @%p0 mbarrier.arrive.expect_tx.shared.b64 _, [%sa+16384], 64;\n\
             @%p0 mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%sa+16384], {come}; {}",
            begin(1),
            wait(0)
        )
    };
    clean(&bytes(64).replace("relaxed", "release"), 64);
}

#[test]
fn waits_without_end_are_told() {
    says(
        &hand_over("", &wait(0)),
        64,
        "warp 1 waits at the mbarrier at shared+16384, whose phase 0 lacks 32 arrivals",
    );
    let body = format!("{} {ARRIVE} {}", begin(64), wait(0));
    clean(&body, 64);
    says(
        &format!("{body} {}", wait(1).replace('W', "V").replace('D', "E")),
        64,
        "lacks 64 arrivals",
    );
    for (come, lacks) in [(32, "lacks 0 arrivals and 32 bytes"), (96, "has 32 bytes too many")] {
        let body = format!(
            "{} @%p0 mbarrier.arrive.expect_tx.shared.b64 _, [%sa+16384], 64;\n\
             @%p0 mbarrier.complete_tx.shared::cta.b64 [%sa+16384], {come}; {}",
            begin(1),
            wait(0)
        );
        says(&body, 32, lacks);
    }
    let spin = "S: mbarrier.test_wait.parity.shared.b64 %p5, [%sa+16384], 0; @!%p5 bra S;";
    assert!(matches!(faulty(&format!("{} {spin}", begin(1)), 32), FaultKind::Barrier(_)));
}

#[test]
fn misuse() {
    says(ARRIVE, 32, "expected an initialised mbarrier, found none");
    says(&begin(0), 32, "expected 1 to 1048575 arrivals a phase, found 0");
    says(&format!("{} {}", begin(4), begin(4)), 32, "`inval` it first");
    let five = ARRIVE.replace("];", "], 5;");
    says(
        &format!("{} @%p0 {five}", begin(4)),
        32,
        "expected at most 4 more arrivals in its phase, found 5",
    );
    says(&format!("{} {}", begin(1), wait(2)), 32, "expected a parity of 0 or 1, found 2");
    let access = AccessKind::Write;
    let body = format!("{} @%p0 st.shared.b32 [%sa+16388], 0;", begin(1));
    assert_eq!(faulty(&body, 32), FaultKind::MbarrierAccess { access });
    let again = "@%p0 mbarrier.inval.shared.b64 [%sa+16384]; @%p0 st.shared.b32 [%sa+16388], 0;";
    clean(&format!("{} {again}", begin(1)), 32);
    // Nothing orders warp 1 after the initialisation, or warp 0's end of it after warp 1's arrival.
    let body = begin(64).replace("bar.sync 0;", "") + ARRIVE;
    assert!(matches!(faulty(&body, 64), FaultKind::Race { .. } | FaultKind::Mbarrier(_)));
    let end = "setp.eq.u32 %p4, %t, 32; @%p4 mbarrier.inval.shared.b64 [%sa+16384];";
    let kind = faulty(&format!("{} {ARRIVE} {end}", begin(65)), 64);
    assert!(matches!(kind, FaultKind::Race { other: AccessKind::Atomic, .. }), "{kind}");
    assert!(matches!(
        faulty("mbarrier.init.shared.b64 [%sa+4], 1;", 1),
        FaultKind::Misaligned { .. }
    ));
}

#[test]
fn what_has_no_effect_on_values_is_taken() {
    clean(
        "setmaxnreg.dec.sync.aligned.u32 40; griddepcontrol.wait; griddepcontrol.launch_dependents;\n\
         fence.proxy.async.shared::cta; fence.proxy.async; fence.acq_rel.cluster;",
        128,
    );
    let body = "elect.sync %r0|%p4, -1; @%p4 st.global.b32 [%out], %t; elect.sync _|%p5, -1;\n\
         @%p5 st.global.b32 [%out+4], %r0;";
    let block = clean(body, 32);
    assert_eq!(download_u32(&block.device, block.output, 2), [0, 0]);
    let body = "@%p1 bra END; elect.sync %r0|%p4, 0xfffffffe; @%p4 st.global.b32 [%out], %t; END:";
    let block = clean(body, 32);
    assert_eq!(download_u32(&block.device, block.output, 1), [1]);
}

#[test]
fn one_lane_of_a_warp_may_let_the_others_go_on() {
    // Lane 0 goes another way and arrives after the others have begun to wait; it then waits for them in turn.
    let others = wait(0).replace('W', "V").replace('D', "E");
    let body =
        format!("{} @%p1 bra LATE; {others} bra ON; LATE: {ARRIVE} ON: bar.sync 0;", begin(1));
    clean(&body, 32);
}

#[test]
fn phases_that_nobody_sees_end_are_told() {
    let body = format!("{} @%p0 {ARRIVE} @%p0 {ARRIVE} {}", begin(1), wait(0));
    says(&body, 32, "its phase 1 ends before anybody has seen the end of the one before");
}
