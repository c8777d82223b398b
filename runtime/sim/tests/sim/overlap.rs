//! Launches that may begin while those before them still run.

use bytec_sim::{AccessKind, FaultKind};

use crate::hopper::Block;
use crate::support::download_u32;

/// Writes each thread's number to the output.
const WRITE: &str = "st.global.b32 [%mine], %t;";
/// Writes one more than the output holds to the next 128 bytes of it.
const READ: &str =
    "ld.global.b32 %r0, [%mine]; add.u32 %r0, %r0, 1; st.global.b32 [%mine+128], %r0;";
const WAIT: &str = "griddepcontrol.wait;";
const LET: &str = "griddepcontrol.launch_dependents;";

/// Runs bodies one behind the other, the first when nothing else runs; the fault of the last.
#[track_caller]
fn last(bodies: &[&str]) -> Option<FaultKind> {
    let mut block = Block::new();
    let (last, before) = bodies.split_last().expect("there is one");
    for body in before {
        block.run_behind(body).unwrap_or_else(|fault| panic!("{body}: {fault}"));
    }
    block.run_behind(last).err().map(|fault| fault.kind)
}

fn overlap(access: AccessKind, other: AccessKind) -> Option<FaultKind> {
    Some(FaultKind::Overlap { access, other })
}

#[test]
fn what_waits_sees_all_that_was_written_before() {
    let mut block = Block::new();
    block.run_behind(WRITE).unwrap();
    // What nobody writes, and shared memory, may come before.
    let early = "ld.global.nc.b32 %r1, [%in]; st.shared.b32 [%own], %r1;";
    block.run_behind(&format!("{LET} {early} {WAIT} {READ}")).unwrap();
    assert_eq!(download_u32(&block.device, block.output, 64)[32..35], [1, 2, 3]);
}

#[test]
fn a_missing_wait_is_a_race() {
    let (read, write, atomic) = (AccessKind::Read, AccessKind::Write, AccessKind::Atomic);
    assert_eq!(last(&[WRITE, &format!("{READ} {WAIT}")]), overlap(read, write));
    assert_eq!(last(&[WRITE, &format!("{WRITE} {WAIT}")]), overlap(write, write));
    // Nor may what is read before be written.
    let from_input = "ld.global.b32 %r0, [%in];";
    let to_input = format!("@%p0 st.global.b32 [%in], %t; {WAIT}");
    assert_eq!(last(&[from_input, &to_input]), overlap(write, read));
    let add = format!("@%p0 red.global.add.u32 [%out], 1; {WAIT}");
    assert_eq!(last(&[WRITE, &add]), overlap(atomic, write));
    // A copy counts from where it is issued.
    let copy = "@%p0 mbarrier.init.shared.b64 [%sa+16384], 1; @%p0 fence.mbarrier_init.release.cluster;\n\
         @%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%sa], [%out], 128, [%sa+16384];";
    assert_eq!(last(&[WRITE, &format!("{copy} {WAIT}")]), overlap(read, write));
    // Each lane waits for itself.
    let half = format!("setp.lt.u32 %p4, %t, 16; @%p4 {WAIT} {READ}");
    assert_eq!(last(&[WRITE, &half]), overlap(read, write));
}

#[test]
fn a_launch_may_overlap_with_all_since_the_last_that_did_not() {
    let between = format!("{LET} {WAIT}");
    let early = format!("{WRITE} {WAIT}");
    let (read, write) = (AccessKind::Read, AccessKind::Write);
    assert_eq!(last(&[WRITE, &between, &between, &early]), overlap(write, write));
    assert_eq!(last(&[WRITE, &between, &format!("{READ} {WAIT}")]), overlap(read, write));
    // One that waits for everything begins a new chain, and needs no wait of its own.
    let mut block = Block::new();
    block.run_behind(WRITE).unwrap();
    block.chain.cut();
    block.run_behind(READ).unwrap();
    block.chain.cut();
    block.run_behind(&early).unwrap();
}

#[test]
fn lanes_that_return_without_a_wait_are_told() {
    // Whoever overlaps with this one could begin before the first has ended.
    assert_eq!(last(&[WRITE, LET]), Some(FaultKind::Unwaited { lanes: u32::MAX }));
    let some = format!("setp.lt.u32 %p4, %t, 4; @%p4 ret; {WAIT}");
    assert_eq!(last(&[WRITE, &some]), Some(FaultKind::Unwaited { lanes: 0xf }));
    assert_eq!(last(&[&some]), None);
}

#[test]
fn constants_are_what_no_launch_of_the_chain_writes() {
    let constant = READ.replace("ld.global", "ld.global.nc");
    let found = last(&[WRITE, &format!("{WAIT} {constant}")]);
    assert_eq!(found, Some(FaultKind::Constant { bytes: 4 }));
    let other = "ld.global.nc.v4.b32 {%r0, %r1, %r2, %r3}, [%in]; st.global.b32 [%mine], %r0;";
    assert_eq!(last(&[WRITE, &format!("{WAIT} {other}")]), None);
}
