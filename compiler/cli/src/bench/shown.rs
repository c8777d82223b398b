//! What a measurement finds, for people.

use std::io::{self, Write};

use super::report::{Line, Report, Row};
use crate::table::Table;

pub(super) fn show(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Report { plan, target, dtype, machine, threads, lengths, seed, .. } = report;
    write!(out, "{plan} for {target} in {dtype} on {machine}")?;
    match report.instructions {
        Some(instructions) => writeln!(out, ", {instructions}, {threads} threads")?,
        None => writeln!(out)?,
    }
    writeln!(out, "lengths {lengths}, seed {seed}")?;
    if report.rows.iter().any(|row| row.counts.is_some()) {
        writeln!(out, "counted by the interpreter in one run of one batch; no times")?;
        return counted(out, report);
    }
    ceilings(out, report)?;
    writeln!(out)?;
    table(out, &report.rows)?;
    for row in &report.rows {
        profile(out, row)?;
    }
    Ok(())
}

fn ceilings(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let rates = &report.ceilings;
    let measured = [
        ("copy", rates.copy_gb_per_s.map(|rate| format!("{rate:.1} GB/s"))),
        ("product", rates.product_tflop_per_s.map(|rate| format!("{rate:.3} TFLOP/s"))),
        ("fma", rates.fma_tflop_per_s.map(|rate| format!("{rate:.3} TFLOP/s"))),
    ];
    let said: Vec<_> = measured
        .iter()
        .filter_map(|(name, rate)| Some(format!("{name} {}", rate.as_ref()?)))
        .collect();
    if !said.is_empty() {
        writeln!(out, "ceilings {}", said.join(", "))?;
    }
    rates.missing.iter().try_for_each(|why| writeln!(out, "no ceiling: {why}"))
}

fn table(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let cells = |row: &Row| -> Option<[String; 12]> {
        let times = row.times.as_ref()?;
        let latencies: Vec<_> = times
            .latency_ms
            .iter()
            .map(|(name, ms)| format!("{name} {}", short(ms.as_f64().unwrap_or(f64::NAN))))
            .collect();
        Some([
            latencies.join(", "),
            count(row.samples),
            count(row.tokens),
            row.runs.to_string(),
            short(times.pack_ms),
            count(times.samples_per_s),
            count(times.tokens_per_s),
            format!("{:.3}", times.tflop_per_s),
            part(times.of_product),
            part(times.of_fma),
            part(Some(row.padding_avoided)),
            count(row.launches),
        ])
    };
    let title = [
        "latency in ms",
        "samples",
        "tokens",
        "runs",
        "pack ms",
        "samples/s",
        "tokens/s",
        "TFLOP/s",
        "of product",
        "of fma",
        "padding avoided",
        "launches",
    ];
    Table::new(title, rows.iter().filter_map(cells).collect()).with_numbers(1).all(out)
}

fn profile(out: &mut impl Write, row: &Row) -> io::Result<()> {
    if row.kernels.is_empty() {
        return Ok(());
    }
    let title = |what: &'static str| {
        [what, "launches", "ms", "share", "GFLOP", "GFLOP/s", "MB", "GB/s", "of ceiling"]
    };
    let cells = |name: String, line: &Line| {
        let rate = |value: Option<f64>| value.map_or(String::new(), count);
        [
            name,
            count(line.launches),
            line.ms.map_or(String::new(), short),
            part(line.share),
            short(line.gflop),
            rate(line.gflop_per_s.filter(|rate| *rate > 0.0)),
            short(line.megabytes),
            rate(line.gb_per_s),
            part(line.of_ceiling),
        ]
    };
    writeln!(out, "\nbatches of {} samples, {} tokens", count(row.samples), count(row.tokens))?;
    let kernels = row.kernels.iter().map(|line| cells(line.kernel.clone(), line)).collect();
    Table::new(title("kernel"), kernels).with_numbers(1).all(out)?;
    writeln!(out)?;
    let steps =
        row.steps.iter().map(|line| cells(format!("{} ({})", line.step, line.kernel), line));
    Table::new(title("step"), steps.collect()).with_numbers(1).all(out)
}

fn counted(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for row in &report.rows {
        writeln!(
            out,
            "\nbatch of {} samples, {} tokens: {} of the padded tokens avoided",
            count(row.samples),
            count(row.tokens),
            part(Some(row.padding_avoided))
        )?;
        let cells = |line: &Line| -> Option<[String; 8]> {
            let counts = line.counts.as_ref()?;
            Some([
                line.kernel.clone(),
                count(line.launches),
                short(line.gflop),
                counts.warp_instructions.to_string(),
                counts.bytes_read.to_string(),
                counts.bytes_written.to_string(),
                counts.tensor_operations.to_string(),
                counts.extra_wavefronts.to_string(),
            ])
        };
        let title = [
            "kernel",
            "launches",
            "GFLOP",
            "instructions",
            "read",
            "written",
            "tensor ops",
            "conflicts",
        ];
        let all = row.counts.as_ref().map(|counts| {
            [
                "all".to_owned(),
                count(row.launches),
                short(row.gflop),
                counts.warp_instructions.to_string(),
                counts.bytes_read.to_string(),
                counts.bytes_written.to_string(),
                counts.tensor_operations.to_string(),
                counts.extra_wavefronts.to_string(),
            ]
        });
        let rows = row.kernels.iter().filter_map(cells).chain(all).collect();
        Table::new(title, rows).with_numbers(1).all(out)?;
    }
    Ok(())
}

/// Without a fraction where it says nothing.
fn count(value: f64) -> String {
    if value == value.round() || value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// With three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        x if x >= 100.0 => format!("{value:.0}"),
        x if x >= 10.0 => format!("{value:.1}"),
        x if x >= 1.0 || x == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn part(share: Option<f64>) -> String {
    share.map_or(String::new(), |share| format!("{:.1} %", 100.0 * share))
}
