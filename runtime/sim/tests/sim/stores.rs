//! Rows that one warp stages, and the copy engine stores while the next are made: whole, and with one statement taken out
//! or changed.

use crate::hopper::Block;

const ROWS: u64 = 4;
const ROUNDS: u64 = 3;
/// Bytes of a row, from one to the next in shared memory, and in the output.
const ROW: u64 = 128;
const STAGED: u64 = ROW + 16;
const STRIDE: u64 = 256;

/// The number that a lane writes.
fn number(round: u64, row: u64, lane: u64) -> u64 {
    round * 1000 + row * 100 + lane
}

fn wait(name: &str, barrier: u32, parity: u64) -> String {
    format!(
        "{{ .reg .pred p; {name}: mbarrier.try_wait.parity.shared.b64 p, [%sa+{barrier}], {parity};\n\
         @p bra END_{name}; bra {name}; END_{name}: }}\n"
    )
}

/// Warp 1 makes rows, thread 0 stores them. At 16384 lies the mbarrier that says that they are staged, behind it the
/// one that says that they were read.
fn kernel() -> String {
    let mut text = "@%p0 mbarrier.init.shared.b64 [%sa+16384], 1;\n\
        @%p0 mbarrier.init.shared.b64 [%sa+16392], 1;\nbar.sync 0;\n\
        setp.eq.u32 %p4, %warp, 0;\n@%p4 bra STORE;\n"
        .to_owned();
    for round in 0..ROUNDS {
        text += &wait(&format!("TAKEN{round}"), 16392, (round + 1) % 2);
        for row in 0..ROWS {
            // The warp's own words begin at the second 128 bytes.
            let (at, value) = (row * STAGED, number(round, row, 0));
            text += &format!("add.u32 %r1, %lane, {value};\nst.shared.b32 [%own+{at}], %r1;\n");
        }
        text += &format!(
            "fence.proxy.async.shared::cta; // {round}\nbar.warp.sync -1;\n\
             @%p1 mbarrier.arrive.shared.b64 _, [%sa+16384]; // {round}\n"
        );
    }
    text += "ret;\nSTORE:\n@!%p0 ret;\n";
    for round in 0..ROUNDS {
        text += &wait(&format!("STAGED{round}"), 16384, round % 2);
        for row in 0..ROWS {
            let (to, from) = ((round * ROWS + row) * STRIDE, 128 + row * STAGED);
            text += &format!(
                "cp.async.bulk.global.shared::cta.bulk_group [%out+{to}], [%sa+{from}], {ROW};\n"
            );
        }
        text += &format!(
            "cp.async.bulk.commit_group; // {round}\ncp.async.bulk.wait_group.read 0; // {round}\n\
             mbarrier.arrive.shared.b64 _, [%sa+16392]; // {round}\n"
        );
    }
    text + "cp.async.bulk.wait_group 0;"
}

/// The output, or what the fault says.
fn run(text: &str) -> Result<Vec<u32>, String> {
    let mut block = Block::new();
    block.device.branch_limit = 5_000;
    block.run(text, 64).map_err(|fault| fault.to_string())?;
    let mut found = Vec::new();
    for row in 0..ROUNDS * ROWS {
        let bytes = block.device.download(block.output, row * STRIDE..row * STRIDE + ROW);
        let bytes = bytes.map_err(|error| error.to_string())?;
        found.extend(bytes.chunks_exact(4).map(|x| u32::from_le_bytes([x[0], x[1], x[2], x[3]])));
    }
    Ok(found)
}

#[test]
fn rows_leave_while_the_next_are_made() {
    let rounds = (0..ROUNDS).flat_map(|round| (0..ROWS).map(move |row| (round, row)));
    let expected: Vec<u32> = rounds
        .flat_map(|(round, row)| (0..32).map(move |lane| number(round, row, lane) as u32))
        .collect();
    let kernel = kernel();
    assert_eq!(run(&kernel).as_ref(), Ok(&expected));
    let copy = |row: u64, bytes: u64| format!("[%sa+{}], {bytes};", 128 + row * STAGED);
    let last = ROUNDS - 1;
    let mut missed = Vec::new();
    for (was, is, says) in [
        ("fence.proxy.async.shared::cta; // 1", "", "expected a fence.proxy.async"),
        // A warp that does not wait is a round ahead of the other.
        ("bra TAKEN1;", "bra END_TAKEN1;", "before anybody has seen"),
        ("cp.async.bulk.wait_group.read 0; // 0", "", "still reads"),
        ("wait_group.read 0; // 0", "wait_group.read 1;", "still reads"),
        ("cp.async.bulk.commit_group; // 0", "", "still reads"),
        ("cp.async.bulk.wait_group 0;", "", "still writes"),
        ("cp.async.bulk.wait_group 0;", "cp.async.bulk.wait_group 1;", "still writes"),
        ("cp.async.bulk.wait_group 0;", "cp.async.bulk.wait_group.read 0;", "still writes"),
        ("bra STAGED1;", "bra END_STAGED1;", "before anybody has seen"),
        ("mbarrier.arrive.shared.b64 _, [%sa+16384]; // 1", "mov.b32 %r2, 0;", "lacks 1 arrivals"),
        ("mbarrier.arrive.shared.b64 _, [%sa+16392]; // 1", "", "lacks 1 arrivals"),
        // More than the row was never written; less, or another row, are other numbers.
        (&copy(1, ROW), &copy(1, ROW + 16), "never written"),
        (&copy(1, ROW), &copy(1, ROW - 16), ""),
        (&copy(1, ROW), &copy(2, ROW), ""),
        (&copy(1, ROW), &copy(1, ROW - 8), "multiple of 16"),
        (&format!("[%out+{}]", last * ROWS * STRIDE), "[%out+16]", ""),
    ] {
        assert_eq!(kernel.matches(was).count().min(1), 1, "{was}");
        let found = run(&kernel.replacen(was, is, 1));
        let seen = match &found {
            Ok(found) => says.is_empty() && *found != expected,
            Err(text) => text.contains(says),
        };
        if !seen {
            missed.push(format!("{was} to {is}: {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
