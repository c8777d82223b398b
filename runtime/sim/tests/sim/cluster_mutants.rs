//! A norm of rows that lie over a cluster of three blocks, whole and with one statement taken out or changed: every
//! barrier, arrival, wait, rank and count of it matters.

use bytec_sim::{Arg, Device, Module};

use crate::support::{download_f32, noise, upload_f32};

const NORM: &str = include_str!("../fixtures/cluster_norm.ptx");
const COLUMNS: usize = 192;

/// What the kernel gives for some rows, on so many clusters.
fn run(text: &str, x: &[f32], clusters: u32) -> Result<Vec<f32>, String> {
    let module = Module::parse(text).map_err(|error| error.to_string())?;
    let rows = x.len() / COLUMNS;
    let mut device = Device::sm_90();
    device.branch_limit = 5_000;
    let input = upload_f32(&mut device, "x", x);
    let tiles = rows.div_ceil(16);
    let scale = upload_f32(&mut device, "scale", &noise(tiles * 64, 7));
    let out = device.alloc("out", x.len() as u64 * 4).expect("it is small");
    let mut args: Vec<_> = [input, scale, out].map(|buffer| Arg::Pointer(buffer, 0)).into();
    args.push(Arg::I32(rows as i32));
    let kernel = module.kernel("cluster_norm").ok_or("the kernel is gone")?;
    device
        .launch(kernel, [3, clusters, 1], [128, 1, 1], 0, &args)
        .map_err(|fault| fault.to_string())?;
    device.download(out, 0..x.len() as u64 * 4).map_err(|error| error.to_string())?;
    Ok(download_f32(&device, out, x.len()))
}

fn expected(x: &[f32]) -> Vec<f64> {
    let scales = noise(x.len() / COLUMNS * 64 / 16 + 64, 7);
    let rows = x.chunks_exact(COLUMNS).enumerate();
    let norm = |(row, x): (usize, &[f32])| {
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let mean = x.iter().sum::<f64>() / COLUMNS as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / COLUMNS as f64;
        let scale = |column: usize| f64::from(scales[row / 16 * 64 + column % 64]);
        let factor = 1.0 / (variance + 1e-5).sqrt();
        let scaled = |(column, x): (usize, &f64)| scale(column) * (x - mean) * factor;
        x.iter().enumerate().map(scaled).collect::<Vec<_>>()
    };
    rows.flat_map(norm).collect()
}

fn right(found: &[f32], x: &[f32]) -> bool {
    found.iter().zip(expected(x)).all(|(found, right)| (f64::from(*found) - right).abs() < 2e-6)
}

#[test]
fn a_row_has_the_same_bits_alone_and_on_any_number_of_clusters() {
    let x = noise(53 * COLUMNS, 1);
    let found = run(NORM, &x, 1).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(right(&found, &x));
    assert_eq!(run(NORM, &x, 2).as_ref(), Ok(&found));
    assert_eq!(run(NORM, &x, 5).as_ref(), Ok(&found));
    let alone = run(NORM, &x[..COLUMNS], 1).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(alone, found[..COLUMNS]);
}

/// Every text in which one statement that begins so has become another.
fn changed(start: &str, change: impl Fn(&str) -> String) -> Vec<(usize, String)> {
    let lines: Vec<&str> = NORM.lines().collect();
    let own = lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with(start));
    own.map(|(at, line)| {
        let mut lines = lines.clone();
        let other = change(line);
        lines[at] = &other;
        (at + 1, lines.join("\n"))
    })
    .collect()
}

/// The statement with its last operand replaced by what another statement makes of it.
fn last(line: &str, kind: &str, change: &str) -> String {
    let (before, operand) = line.trim_end_matches(';').rsplit_once(", ").expect("it has operands");
    let change = change.replace("OPERAND", operand);
    format!("{{ .reg .{kind} %mutant; {change} {before}, %mutant; }}")
}

#[test]
fn every_statement_of_the_exchange_matters() {
    let x = noise(53 * COLUMNS, 1);
    let gone = |_: &str| String::new();
    let relaxed = |line: &str| line.replace(".release", ".relaxed");
    let more = |line: &str| last(line, "b32", "add.s32 %mutant, OPERAND, 1;");
    let next =
        |line: &str| last(line, "b32", "add.u32 %mutant, OPERAND, 1; min.u32 %mutant, %mutant, 2;");
    let flipped = |line: &str| last(line, "b32", "xor.b32 %mutant, OPERAND, 1;");
    let classes = [
        ("cluster barrier removed", changed("barrier.cluster", gone), 6),
        ("cluster barrier relaxed", changed("barrier.cluster.arrive", relaxed), 3),
        ("fence removed", changed("fence", gone), 1),
        ("mbarrier or arrival removed", changed("mbarrier.i", gone), 3),
        ("mbarrier or arrival removed", changed("mbarrier.arrive", gone), 3),
        ("count of arrivals changed", changed("mbarrier.init", more), 3),
        ("count of bytes changed", changed("mbarrier.arrive.expect", more), 2),
        ("parity changed", changed("mbarrier.try_wait", flipped), 3),
        ("answer of a wait dropped", changed("@ended", |line| line.replace("@ended ", "")), 3),
        ("rank changed", changed("mapa", next), 4),
        ("multicast removed", changed("cp.async.bulk", gone), 1),
        ("multicast to fewer", changed("mov.u16", |line| line.replace('7', "5")), 1),
        ("multicast to fewer", changed("mov.u16", |line| line.replace('7', "6")), 1),
        ("multicast to more", changed("mov.u16", |line| line.replace('7', "15")), 1),
        ("store to another block removed", changed("st.shared::cluster", gone), 1),
        ("store to another block removed", changed("st.async", gone), 1),
    ];
    let (mut missed, mut tried) = (Vec::new(), 0);
    for (class, mutants, least) in classes {
        assert!(mutants.len() >= least, "{class}: {} mutants", mutants.len());
        for (line, text) in mutants {
            tried += 1;
            assert!(Module::parse(&text).is_ok(), "{class}, line {line} is no PTX any more");
            if run(&text, &x, 1).is_ok_and(|found| right(&found, &x)) {
                missed.push(format!("{class}, line {line}"));
            }
        }
    }
    // The last wait: by then each block has seen all that others do in its memory. The first arrival: the fence before it
    // has shown the mbarriers already.
    let expected = [
        format!("cluster barrier removed, line {}", last_line("barrier.cluster.wait")),
        format!("cluster barrier relaxed, line {}", first_line("barrier.cluster.arrive")),
    ];
    assert_eq!(missed, expected);
    assert_eq!(tried, 37);
}

fn places(start: &'static str) -> impl Iterator<Item = usize> {
    let own =
        move |(at, line): (usize, &str)| line.trim_start().starts_with(start).then_some(at + 1);
    NORM.lines().enumerate().filter_map(own)
}

fn first_line(start: &'static str) -> usize {
    places(start).next().unwrap_or(0)
}

fn last_line(start: &'static str) -> usize {
    places(start).last().unwrap_or(0)
}
