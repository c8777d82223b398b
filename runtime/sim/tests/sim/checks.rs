//! Every check has a kernel that sets it off and a near twin that doesn't.

use bytec_sim::{AccessKind, Arg, Checks, Device, Fault, FaultKind, Module, Place, Profile};

/// Bytes of each of the two buffers, and of shared memory.
const BYTES: u64 = 1024;

/// A launch of a body that finds `%in`, `%out`, `%t` (thread), `%c` (block), `%s` (shared memory),
/// and registers of its own.
fn launch(
    body: &str,
    blocks: u32,
    threads: u32,
    set_up: impl Fn(&mut Device, [bytec_sim::Buffer; 2]),
) -> Result<Profile, Box<Fault>> {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n\
         .visible .entry k(.param .u64 in, .param .u64 out)\n{{\n\
         .reg .b64 %in, %out, %s, %own, %mine;\n.reg .b32 %t, %c, %f, %four;\n.reg .b64 %l<8>;\n\
         .reg .b32 %r<8>;\n.reg .b16 %h<4>;\n.reg .pred %p<4>;\n\
         .shared .align 16 .b8 memory[{BYTES}];\n\
         ld.param.u64 %in, [in];\nld.param.u64 %out, [out];\nmov.u32 %t, %tid.x;\n\
         mov.u32 %c, %ctaid.x;\nmov.u64 %s, memory;\nmul.lo.u32 %four, %t, 4;\n\
         cvt.u64.u32 %l7, %four;\nadd.s64 %own, %s, %l7;\nadd.s64 %mine, %out, %l7;\n\
         {body}\nret;\n}}\n"
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{body}: {error}\n{text}"));
    let mut device = Device::sm_80();
    let input = device.alloc("input", BYTES).expect("it is small");
    let output = device.alloc("output", BYTES).expect("it is small");
    device.upload(input, 0, &vec![1; BYTES as usize]).expect("it fits");
    set_up(&mut device, [input, output]);
    let args = [Arg::Pointer(input, 0), Arg::Pointer(output, 0)];
    let kernel = module.kernel("k").expect("it is there");
    let result = device.launch(kernel, [blocks, 1, 1], [threads, 1, 1], 0, &args);
    // The same on one thread.
    let mut again = Device::sm_80();
    again.parallel = false;
    let input = again.alloc("input", BYTES).expect("it is small");
    let output = again.alloc("output", BYTES).expect("it is small");
    again.upload(input, 0, &vec![1; BYTES as usize]).expect("it fits");
    set_up(&mut again, [input, output]);
    assert_eq!(again.launch(kernel, [blocks, 1, 1], [threads, 1, 1], 0, &args), result, "{body}");
    result
}

fn plain(body: &str, blocks: u32, threads: u32) -> Result<Profile, Box<Fault>> {
    launch(body, blocks, threads, |_, _| {})
}

#[track_caller]
fn clean(body: &str, blocks: u32, threads: u32) {
    if let Err(fault) = plain(body, blocks, threads) {
        panic!("{body}: {fault}");
    }
}

#[track_caller]
fn faulty(body: &str, blocks: u32, threads: u32) -> Box<Fault> {
    plain(body, blocks, threads).expect_err(body)
}

#[test]
fn bounds() {
    clean("ld.global.b32 %r0, [%in+1020]; st.global.b32 [%out+1020], %r0;", 1, 1);
    let fault = faulty("ld.global.b32 %r0, [%in+1024];", 1, 1);
    assert_eq!(fault.kind, FaultKind::OutOfBounds { access: AccessKind::Read, bytes: 4 });
    let place = Place::Global { name: "input".to_owned(), offset: 1024, bytes: BYTES };
    assert_eq!(fault.address, Some(place));
    assert_eq!((fault.line, fault.lane, fault.warp), (Some(22), Some(0), 0));
    let text = fault.to_string();
    assert!(text.contains("kernel k: read of 4 bytes outside"), "{text}");
    assert!(text.contains("input+1024 (of 1024 bytes); PTX line 22, block (0, 0, 0)"), "{text}");
    for body in [
        "st.global.v4.b32 [%out+1024], {%t, %t, %t, %t};",
        "st.shared.b32 [%s+1024], %t;",
        "ld.shared.b32 %r0, [%s+-4];",
        "cp.async.ca.shared.global [%s+1024], [%in], 16;",
        "cp.async.ca.shared.global [%s], [%in+1024], 16;",
    ] {
        let kind = faulty(body, 1, 1).kind;
        assert!(matches!(kind, FaultKind::OutOfBounds { .. }), "{body}: {kind}");
    }
    // Nothing is read of a piece that is zero-filled.
    clean("cp.async.ca.shared.global [%s], [%in+1024], 16, 0; cp.async.wait_all;", 1, 1);
    // Lane 5 is the first whose address is outside.
    let fault = faulty("add.s64 %l0, %mine, 1004; st.global.b32 [%l0], %t;", 1, 32);
    assert_eq!(fault.lane, Some(5));
}

#[test]
fn alignment_and_allocation() {
    clean("ld.global.v2.b32 {%r0, %r1}, [%in+8];", 1, 1);
    let kind = faulty("ld.global.v2.b32 {%r0, %r1}, [%in+4];", 1, 1).kind;
    assert_eq!(kind, FaultKind::Misaligned { access: AccessKind::Read, bytes: 8 });
    let kind = faulty("st.shared.b32 [%s+2], %t;", 1, 1).kind;
    assert_eq!(kind, FaultKind::Misaligned { access: AccessKind::Write, bytes: 4 });
    let kind = faulty("mov.b64 %l0, 64; ld.global.b32 %r0, [%l0];", 1, 1).kind;
    assert_eq!(kind, FaultKind::Unallocated { access: AccessKind::Read, bytes: 4 });
    let freed = launch("ld.global.b32 %r0, [%in];", 1, 1, |device, [input, _]| {
        device.free(input).expect("it is allocated");
    });
    let kind = freed.expect_err("its memory is gone").kind;
    assert_eq!(kind, FaultKind::Unallocated { access: AccessKind::Read, bytes: 4 });
}

#[test]
fn uninitialised_memory() {
    clean("st.global.b32 [%out], %t; ld.global.b32 %r0, [%out];", 1, 1);
    let kind = faulty("ld.global.b32 %r0, [%out];", 1, 1).kind;
    assert_eq!(kind, FaultKind::Uninitialised { bytes: 4 });
    clean(
        "mov.b16 %h0, 1; st.shared.b16 [%s], %h0; st.shared.b16 [%s+2], %h0; ld.shared.b32 %r0, [%s];",
        1,
        1,
    );
    let kind =
        faulty("mov.b16 %h0, 1; st.shared.b16 [%s], %h0; ld.shared.b32 %r0, [%s];", 1, 1).kind;
    assert_eq!(kind, FaultKind::Uninitialised { bytes: 4 });
    let reborn = |from, to| {
        launch("ld.global.b32 %r0, [%in];", 1, 1, move |device, [input, _]| {
            device.birth(input, from..to).expect("it is inside");
        })
    };
    assert!(reborn(4, BYTES).is_ok());
    let kind = reborn(3, BYTES).expect_err("byte 3 is new").kind;
    assert_eq!(kind, FaultKind::Uninitialised { bytes: 4 });
    clean(
        ".local .align 4 .b8 kept[8]; mov.u64 %l0, kept; st.local.b32 [%l0], %t; ld.local.b32 %r0, [%l0];",
        1,
        32,
    );
    let body = ".local .align 4 .b8 kept[8]; mov.u64 %l0, kept; st.local.b32 [%l0], %t; ld.local.b32 %r0, [%l0+4];";
    assert_eq!(faulty(body, 1, 32).kind, FaultKind::Uninitialised { bytes: 4 });
}

/// Every thread writes its own word of shared memory and reads that of the thread 32 further on.
fn exchange(between: &str, after: &str) -> String {
    format!(
        "st.shared.b32 [%own], %t; {between} xor.b32 %r0, %four, 128; cvt.u64.u32 %l0, %r0;\n\
         add.s64 %l0, %s, %l0; ld.shared.b32 %r1, [%l0]; {after} st.shared.b32 [%own], %r1;"
    )
}

#[test]
fn races_in_shared_memory() {
    clean(&exchange("bar.sync 0;", "bar.sync 0;"), 1, 64);
    clean(&exchange("bar.sync 1, 64;", "bar.sync 2, 64;"), 1, 64);
    let fault = faulty(&exchange("bar.sync 0;", ""), 1, 64);
    // Warp 0 runs first, so it is warp 1 that meets the trace.
    let (access, other) = (AccessKind::Read, AccessKind::Write);
    assert!(
        matches!(fault.kind, FaultKind::Race { access: a, other: b, .. } if a == access && b == other),
        "{fault}"
    );
    let body = "setp.lt.u32 %p0, %t, 32; @%p0 st.shared.b32 [%own], %t; @!%p0 ld.shared.b32 %r0, [%own+-128];";
    let fault = faulty(body, 1, 64);
    let (access, other) = (AccessKind::Read, AccessKind::Write);
    assert_eq!(fault.kind, FaultKind::Race { access, other, other_warp: 0, other_lane: 0 });
    assert_eq!((fault.warp, fault.lane), (1, Some(0)));
    clean(&body.replace("@!%p0", "bar.sync 0; @!%p0"), 1, 64);
    // A barrier of other warps orders nothing for the third.
    let body = "setp.lt.u32 %p1, %t, 64; @!%p1 bra L; bar.sync 1, 64; L: st.shared.b32 [%s], 1;";
    assert!(matches!(faulty(body, 1, 96).kind, FaultKind::Race { .. }));
}

#[test]
fn races_within_a_warp() {
    let body = |between: &str| {
        format!(
            "st.shared.b32 [%own], %t; {between} xor.b32 %r0, %four, 4; cvt.u64.u32 %l0, %r0;\n\
                 add.s64 %l0, %s, %l0; ld.shared.b32 %r1, [%l0];"
        )
    };
    clean(&body("bar.warp.sync -1;"), 1, 32);
    clean(&body("shfl.sync.bfly.b32 %r2, %t, 1, 31, -1;"), 1, 32);
    assert!(matches!(faulty(&body(""), 1, 32).kind, FaultKind::Race { other_warp: 0, .. }));
    clean("st.shared.b32 [%s], 7;", 1, 32);
    let kind = faulty("st.shared.b32 [%s], %t;", 1, 32).kind;
    assert_eq!(kind, FaultKind::StoreConflict { other_lane: 0 });
}

#[test]
fn races_in_global_memory() {
    let body = |between: &str| {
        format!(
            "st.global.b32 [%mine], %t; {between} xor.b32 %r0, %four, 128; cvt.u64.u32 %l0, %r0;\n\
                 add.s64 %l0, %out, %l0; ld.global.b32 %r1, [%l0];"
        )
    };
    clean(&body("bar.sync 0;"), 1, 64);
    let setup = |device: &mut Device, [_, output]: [bytec_sim::Buffer; 2]| {
        device.upload(output, 0, &[0; BYTES as usize]).expect("it fits");
    };
    let fault = launch(&body(""), 1, 64, setup).expect_err("nothing orders them");
    assert!(matches!(fault.kind, FaultKind::Race { .. }), "{fault}");
    // Blocks have no order, whatever they do.
    clean("mul.wide.u32 %l0, %c, 128; add.s64 %l0, %mine, %l0; st.global.b32 [%l0], %t;", 4, 32);
    let fault = faulty(
        "mul.wide.u32 %l0, %c, 124; add.s64 %l0, %mine, %l0; st.global.b32 [%l0], %t;",
        4,
        32,
    );
    assert_eq!(fault.kind, FaultKind::BlockRace { access: AccessKind::Write });
    assert_eq!((fault.block, fault.lane), ([1, 0, 0], Some(0)));
    let fault = launch(
        "setp.eq.u32 %p0, %c, 3; @%p0 st.global.b32 [%mine], %t; @!%p0 ld.global.b32 %r0, [%mine];",
        4,
        32,
        setup,
    );
    let fault = fault.expect_err("block 3 writes what the others read");
    assert_eq!(fault.kind, FaultKind::BlockRace { access: AccessKind::Write });
    assert_eq!(fault.block, [3, 0, 0]);
    // Neighbouring bytes are not shared bytes.
    clean("cvt.u64.u32 %l0, %c; add.s64 %l0, %out, %l0; st.global.b8 [%l0], %t;", 8, 1);
    let atomics = launch(
        "atom.global.add.u32 %r0, [%out], 1; red.global.max.u32 [%out+4], %c;",
        8,
        64,
        setup,
    );
    assert!(atomics.is_ok());
    let mixed = launch(
        "setp.eq.u32 %p0, %c, 0; @%p0 atom.global.add.u32 %r0, [%out], 1; @!%p0 ld.global.b32 %r1, [%out];",
        2,
        32,
        setup,
    );
    assert_eq!(
        mixed.expect_err("a plain read").kind,
        FaultKind::BlockRace { access: AccessKind::Read }
    );
}

/// Copies 16 bytes a thread, then reads the thread's own piece, or its neighbour's.
fn copy(wait: &str, read: &str) -> String {
    format!(
        "mul.wide.u32 %l0, %t, 16; add.s64 %l1, %in, %l0; add.s64 %l2, %s, %l0;\n\
         cp.async.cg.shared.global [%l2], [%l1], 16; cp.async.commit_group; {wait} {read}"
    )
}

#[test]
fn the_source_of_an_asynchronous_copy() {
    let (access, write) = (AccessKind::Write, "st.global.b32 [%l1+4], 0;");
    let twin = "xor.b32 %r1, %t, 32; mul.wide.u32 %l0, %r1, 16; add.s64 %l1, %in, %l0;";
    let other = format!("{twin} {write}");
    clean(&copy("cp.async.wait_all;", write), 1, 32);
    clean(&copy("", "ld.global.b32 %r0, [%l1];"), 1, 32);
    for wait in ["", "cp.async.wait_group 1;", "bar.sync 0;"] {
        let fault = faulty(&copy(wait, write), 1, 32);
        let kind = FaultKind::AsyncSource { access, owner_warp: 0, owner_lane: 0 };
        assert_eq!(fault.kind, kind, "{wait}");
    }
    // Another warp comes after the wait and a barrier.
    clean(&copy("cp.async.wait_all; bar.sync 0;", &other), 1, 64);
    let kind = faulty(&copy("bar.sync 0;", &other), 1, 64).kind;
    assert_eq!(kind, FaultKind::AsyncSource { access, owner_warp: 1, owner_lane: 0 });
    let kind = faulty(&copy("bar.sync 0; cp.async.wait_all;", &other), 1, 64).kind;
    assert!(
        matches!(kind, FaultKind::AsyncSource { .. } | FaultKind::Race { .. }),
        "{kind:?}: the wait is ordered by nothing"
    );
    // Only the bytes that it reads.
    let part = "mul.wide.u32 %l0, %t, 16; add.s64 %l1, %in, %l0; add.s64 %l2, %s, %l0;\n\
        cp.async.ca.shared.global [%l2], [%l1], 16, 6;";
    clean(&format!("{part} st.global.b16 [%l1+6], 0;"), 1, 32);
    let kind = faulty(&format!("{part} st.global.b16 [%l1+4], 0;"), 1, 32).kind;
    assert_eq!(kind, FaultKind::AsyncSource { access, owner_warp: 0, owner_lane: 0 });
    let add = faulty(&copy("", "atom.global.add.u32 %r0, [%l1], 1;"), 1, 32).kind;
    let access = AccessKind::Atomic;
    assert_eq!(add, FaultKind::AsyncSource { access, owner_warp: 0, owner_lane: 0 });
}

#[test]
fn memory_under_an_asynchronous_copy() {
    let own = "ld.shared.b32 %r0, [%l2];";
    clean(&copy("cp.async.wait_group 0;", own), 1, 32);
    clean(&copy("cp.async.wait_all;", own), 1, 32);
    for wait in ["", "cp.async.wait_group 1;", "bar.sync 0;"] {
        let fault = faulty(&copy(wait, own), 1, 32);
        let access = AccessKind::Read;
        assert_eq!(
            fault.kind,
            FaultKind::AsyncConflict { access, owner_warp: 0, owner_lane: 0 },
            "{wait}"
        );
    }
    let access = AccessKind::Write;
    let fault = faulty(&copy("", "st.shared.b32 [%l2+4], 0;"), 1, 32);
    assert_eq!(fault.kind, FaultKind::AsyncConflict { access, owner_warp: 0, owner_lane: 0 });
    // Waiting is not enough for another warp, nor a barrier before the wait.
    let other = "xor.b32 %r1, %t, 32; mul.wide.u32 %l0, %r1, 16; add.s64 %l2, %s, %l0; ld.shared.b32 %r0, [%l2];";
    clean(&copy("cp.async.wait_all; bar.sync 0;", other), 1, 64);
    let second = format!("setp.lt.u32 %p1, %t, 32; @%p1 ret; {other}");
    let kind = faulty(&copy("cp.async.wait_all;", &second), 1, 64).kind;
    let (access, other) = (AccessKind::Read, AccessKind::Write);
    assert_eq!(kind, FaultKind::Race { access, other, other_warp: 0, other_lane: 0 });
    let kind = faulty(&copy("", &second), 1, 64).kind;
    assert_eq!(kind, FaultKind::AsyncConflict { access, owner_warp: 0, owner_lane: 0 });
    let kind = faulty(&copy("bar.sync 0; cp.async.wait_all;", &second), 1, 64).kind;
    assert!(matches!(kind, FaultKind::Race { other_warp: 0, .. }), "{kind}");
    // A new copy over what others still read.
    let again = "bar.sync 0; ld.shared.b32 %r0, [%l2]; xor.b32 %r1, %t, 32; mul.wide.u32 %l0, %r1, 16; add.s64 %l2, %s, %l0;";
    let recopy = "cp.async.cg.shared.global [%l2], [%l1], 16; cp.async.wait_all;";
    clean(&copy("cp.async.wait_all;", &format!("{again} bar.sync 0; {recopy}")), 1, 64);
    assert!(matches!(
        faulty(&copy("cp.async.wait_all;", &format!("{again} {recopy}")), 1, 64).kind,
        FaultKind::Race { .. }
    ));
}

#[test]
fn barriers() {
    clean("bar.sync 0;", 1, 96);
    clean("setp.ge.u32 %p0, %t, 32; @%p0 ret; bar.sync 0;", 1, 96);
    clean(
        "setp.lt.u32 %p0, %t, 32; @%p0 bra A; bar.sync 1, 64; bra B; A: bar.arrive 1, 64; B:",
        1,
        64,
    );
    let kind = faulty("setp.lt.u32 %p0, %t, 7; @%p0 bar.sync 0;", 1, 32).kind;
    assert_eq!(kind, FaultKind::DivergentBarrier { expected: u32::MAX, found: 0x7f });
    let kind =
        faulty("setp.lt.u32 %p0, %t, 7; @%p0 bra A; bar.sync 0; bra B; A: bar.sync 0; B:", 1, 32)
            .kind;
    assert!(matches!(kind, FaultKind::DivergentBarrier { .. }), "{kind}");
    for body in ["bar.sync 0, 48;", "bar.sync 16;", "bar.sync 0, 0;", "bar.sync 0, 128;"] {
        assert!(matches!(faulty(body, 1, 64).kind, FaultKind::Barrier(_)), "{body}");
    }
    let fault =
        faulty("setp.lt.u32 %p0, %t, 32; @%p0 bra A; bar.sync 1, 64; A: bar.sync 2, 64;", 1, 64);
    assert!(fault.to_string().contains("warp 1 waits at barrier 1 for 64 threads"), "{fault}");
    let fault = faulty(
        "setp.lt.u32 %p0, %t, 32; @%p0 bra A; bar.sync 1, 64; A: @%p0 bar.sync 1, 32;",
        1,
        64,
    );
    assert!(matches!(fault.kind, FaultKind::Barrier(_)), "{fault}");
}

#[test]
fn members_of_a_warp() {
    clean("setp.lt.u32 %p0, %t, 16; @%p0 shfl.sync.bfly.b32 %r0, %t, 1, 31, 0xffff;", 1, 32);
    let kind =
        faulty("setp.lt.u32 %p0, %t, 16; @%p0 shfl.sync.bfly.b32 %r0, %t, 1, 31, -1;", 1, 32).kind;
    assert_eq!(kind, FaultKind::MissingLanes { members: u32::MAX, found: 0xffff });
    let fault = faulty("shfl.sync.bfly.b32 %r0, %t, 1, 31, 0xffff;", 1, 32);
    assert_eq!(fault.kind, FaultKind::NotAMember { members: 0xffff });
    assert_eq!(fault.lane, Some(16));
    clean(
        "setp.lt.u32 %p0, %t, 16; @%p0 bra A; mov.b32 %r0, 1; A: vote.sync.any.pred %p1, %p0, -1;",
        1,
        32,
    );
    let body = "setp.lt.u32 %p0, %t, 16; @%p0 bra A; vote.sync.any.pred %p1, %p0, -1; bra B; A: vote.sync.all.pred %p1, %p0, -1; B:";
    assert!(matches!(faulty(body, 1, 32).kind, FaultKind::MissingLanes { .. }));
}

#[test]
fn endless_loops_and_traps() {
    let short = |body: &str| {
        launch(body, 1, 32, |device, _| device.branch_limit = 100)
            .map(|_| ())
            .map_err(|fault| fault.kind)
    };
    assert_eq!(
        short("mov.b32 %r0, 0; L: add.u32 %r0, %r0, 1; setp.lt.u32 %p0, %r0, 100; @%p0 bra L;"),
        Ok(())
    );
    assert_eq!(short("L: bra L;"), Err(FaultKind::Endless(100)));
    assert_eq!(short("trap;"), Err(FaultKind::Trap));
}

/// The first half of the input and of the output is marked.
fn marked(body: &str) -> Result<(), FaultKind> {
    launch(body, 1, 32, |device, buffers| {
        for buffer in buffers {
            device.mark(buffer, 0..BYTES / 2).expect("it is inside");
        }
    })
    .map(|_| ())
    .map_err(|fault| fault.kind)
}

#[test]
fn marked_values() {
    let value = Err(FaultKind::Taint { what: "its value" });
    let all = "ld.global.b32 %r0, [%in]; ld.global.b32 %r1, [%in+512];";
    for (body, expected) in [
        ("st.global.b32 [%mine+512], %r1;", Ok(())),
        ("st.global.b32 [%mine+512], %r0;", value.clone()),
        ("st.global.b32 [%mine], %r0;", Ok(())),
        ("add.u32 %r2, %r0, %r1; st.global.b32 [%mine+512], %r2;", value.clone()),
        ("mul.lo.u32 %r2, %r0, 0; st.global.b32 [%mine+512], %r2;", value.clone()),
        ("and.b32 %r2, %r0, 0; st.global.b32 [%mine+512], %r2;", Ok(())),
        (
            "setp.eq.s32 %p0, %t, 99; selp.b32 %r2, %r0, %r1, %p0; st.global.b32 [%mine+512], %r2;",
            Ok(()),
        ),
        (
            "setp.eq.s32 %p0, %t, 9; selp.b32 %r2, %r0, %r1, %p0; st.global.b32 [%mine+512], %r2;",
            value.clone(),
        ),
        (
            "setp.eq.s32 %p0, %r0, 9; selp.b32 %r2, 1, 2, %p0; st.global.b32 [%mine+512], %r2;",
            value.clone(),
        ),
        (
            "mov.b32 {%h0, %h1}, %r0; mov.b32 {%h2, %h3}, %r1; mov.b32 %r2, {%h2, %h1}; st.global.b16 [%out+512], %r2;",
            Ok(()),
        ),
        (
            "shl.b32 %r2, %r0, 16; shr.u32 %r2, %r2, 24; shr.u32 %r2, %r2, 8; st.global.b32 [%mine+512], %r2;",
            Ok(()),
        ),
        (
            "st.shared.b32 [%own], %r0; ld.shared.b32 %r2, [%own]; st.global.b32 [%mine+512], %r2;",
            value.clone(),
        ),
        (
            "st.shared.b32 [%own], %r0; st.shared.b32 [%own], %r1; ld.shared.b32 %r2, [%own]; st.global.b32 [%mine+512], %r2;",
            Ok(()),
        ),
        ("shfl.sync.idx.b32 %r2, %r0, 0, 31, -1; st.global.b32 [%mine+512], %r2;", value.clone()),
        ("shfl.sync.idx.b32 %r2, %r1, 0, 31, -1; st.global.b32 [%mine+512], %r2;", Ok(())),
        (
            "cvt.u64.u32 %l0, %r0; and.b64 %l0, %l0, 4; add.s64 %l0, %mine, %l0; st.global.b32 [%l0+512], %r1;",
            Err(FaultKind::Taint { what: "its store's address" }),
        ),
        (
            "setp.ne.s32 %p0, %r0, 9; @%p0 st.global.b32 [%mine+512], %r1;",
            Err(FaultKind::Taint { what: "its store's predicate" }),
        ),
        (
            "cp.async.ca.shared.global [%own], [%in], 4; cp.async.wait_all; ld.shared.b32 %r2, [%own]; st.global.b32 [%mine+512], %r2;",
            value,
        ),
        (
            "cp.async.ca.shared.global [%own], [%in], 4, 0; cp.async.wait_all; ld.shared.b32 %r2, [%own]; st.global.b32 [%mine+512], %r2;",
            Ok(()),
        ),
    ] {
        assert_eq!(marked(&format!("{all} {body}")), expected, "{body}");
    }
}

#[test]
fn launches() {
    let module = Module::parse(
        ".version 8.0\n.target sm_80\n.extern .shared .align 16 .b8 dynamic[];\n\
         .visible .entry k(.param .u32 n)\n.maxntid 64, 1, 1\n{ ret; }",
    )
    .expect("it is well formed");
    let kernel = module.kernel("k").expect("it is there");
    let mut device = Device::sm_80();
    let args = [Arg::U32(1)];
    assert!(device.launch(kernel, [1, 1, 1], [64, 1, 1], 99 * 1024, &args).is_ok());
    for (grid, block, shared, args) in [
        ([1, 1, 1], [64, 1, 1], 99 * 1024 + 1, &args[..]),
        ([0, 1, 1], [64, 1, 1], 0, &args),
        ([1, 65_536, 1], [64, 1, 1], 0, &args),
        ([1, 1, 1], [65, 1, 1], 0, &args),
        ([1, 1, 1], [1, 1, 65], 0, &args),
        ([1, 1, 1], [64, 1, 1], 0, &[]),
        ([1, 1, 1], [64, 1, 1], 0, &[Arg::U64(1)]),
    ] {
        let fault = device.launch(kernel, grid, block, shared, args).expect_err("it does not fit");
        assert!(matches!(fault.kind, FaultKind::Launch { .. }), "{fault}");
    }
}

#[test]
fn checks_can_be_switched_off() {
    for body in [
        "ld.global.b32 %r0, [%out];".to_owned(),
        exchange("", ""),
        copy("", "ld.shared.b32 %r0, [%l2];"),
        "st.global.b32 [%out], %c;".to_owned(),
    ] {
        assert!(plain(&body, 2, 64).is_err(), "{body}");
        let result = launch(&body, 2, 64, |device, _| device.checks = Checks::NONE);
        assert!(result.is_ok(), "{body}");
    }
}
