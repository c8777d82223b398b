//! The record as a page.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::findings::{Check, Finding, Timing};
use crate::limits;
use crate::record::{PhaseRecord, Record};

/// The README's heading above the list.
const RUNS: &str = "## Runs\n";

/// The page of a record.
pub(crate) fn page(record: &Record) -> String {
    let mut page = String::new();
    let machine = &record.machine;
    let text = |page: &mut String, line: String| {
        page.push_str(&line);
        page.push('\n');
    };
    text(&mut page, format!("# {}, {}\n", machine.gpu, record.date));
    let about = [
        ("commit", record.commit.as_str()),
        ("architecture", &machine.arch),
        ("NVRTC of the pack", &record.nvrtc),
        ("processor", &machine.cpu),
    ];
    text(&mut page, "| | |\n|---|---|".to_owned());
    for (name, value) in about {
        text(&mut page, format!("| {name} | {value} |"));
    }
    text(&mut page, format!("| its threads | {} |", machine.threads));
    for (name, value) in &machine.details {
        text(&mut page, format!("| {name} | {value} |"));
    }
    if record.device != "cuda" {
        text(&mut page, "\nNo GPU took part: this run tries the way, not the kernels.".to_owned());
    }
    text(&mut page, "\n## Verdict\n".to_owned());
    text(&mut page, "| phase | units | wrong | left out | not reached | seconds |".to_owned());
    text(&mut page, "|---|---:|---:|---:|---:|---:|".to_owned());
    for phase in &record.phases {
        let [wrong, left, missed] = phase.counts();
        let (name, units, seconds) = (&phase.name, phase.units, phase.seconds);
        let row = format!("| {name} | {units} | {wrong} | {left} | {missed} | {seconds:.1} |");
        text(&mut page, row);
    }
    for phase in &record.phases {
        if let Some(why) = &phase.stopped {
            text(&mut page, format!("\nThe phase {} was ended by {why}.", phase.name));
        }
    }
    wrong(&mut page, record);
    for phase in &record.phases {
        match phase.name.as_str() {
            "kernels" => kernels(&mut page, phase),
            "models" => models(&mut page, phase),
            "sanitizer" => sanitizer(&mut page, phase),
            "timings" => timings(&mut page, phase, &machine.gpu),
            _ => {}
        }
    }
    if let Some(peer) = &record.peer {
        peers(&mut page, record, peer);
    }
    page
}

/// The README with a line for a run, the latest first.
pub(crate) fn listed(readme: &str, record: &Record) -> Result<String> {
    let (before, list) = readme.split_once(RUNS).context("the README has no list of runs")?;
    let name = record.name();
    let verdict = if record.passed() { "all right" } else { "something is wrong" };
    let line = format!("- [{}, {}]({name}.md): {verdict}", record.machine.gpu, record.date);
    let file = format!("({name}.md)");
    let mut lines: Vec<_> =
        list.lines().filter(|line| line.starts_with("- ") && !line.contains(&file)).collect();
    lines.insert(0, &line);
    lines.sort_by_key(|line| std::cmp::Reverse(line.split("](").nth(1)));
    Ok(format!("{before}{RUNS}\n{}\n", lines.join("\n")))
}

fn wrong(page: &mut String, record: &Record) {
    let mut lines = Vec::new();
    for phase in &record.phases {
        for finding in &phase.findings {
            lines.extend(finding.wrong.iter().map(|why| format!("- {}: {why}", finding.unit)));
        }
        for tool in phase.tools.iter().filter(|tool| tool.ran && !tool.clean) {
            lines.push(format!("- {}: {}", tool.name, tool.said));
        }
    }
    if !lines.is_empty() {
        _ = write!(page, "\n## Wrong\n\n{}\n", lines.join("\n"));
    }
    let mut left: BTreeMap<&str, u64> = BTreeMap::new();
    for finding in record.phases.iter().flat_map(|phase| &phase.findings) {
        if let Some(why) = &finding.left_out {
            *left.entry(why).or_default() += 1;
        }
    }
    if !left.is_empty() {
        page.push_str("\n## Left out\n\n");
        for (why, count) in left {
            _ = writeln!(page, "- {count} units: {why}");
        }
    }
}

/// Sums of a kernel's cases for one target.
#[derive(Default)]
struct Family {
    cases: u64,
    wrong: u64,
    /// The largest error in units of its bound.
    error: f64,
    /// Cases whose every bit is that of the simulated GPU.
    same_bits: u64,
    most_ulps: u64,
    every_bit_defined: bool,
}

impl Family {
    fn add(&mut self, finding: &Finding, check: &Check) {
        self.cases += 1;
        self.wrong += u64::from(!finding.wrong.is_empty());
        self.every_bit_defined |= check.every_bit_defined;
        let mut same = true;
        for output in check.outputs.values() {
            let part = output.error.map_or(f64::INFINITY, |error| {
                if error == 0.0 { 0.0 } else { error / output.bound }
            });
            self.error = self.error.max(part);
            if let Some(simulated) = output.simulated {
                same &= simulated.differ == 0;
                self.most_ulps = self.most_ulps.max(simulated.most_ulps);
            }
        }
        self.same_bits += u64::from(same);
    }
}

fn kernels(page: &mut String, phase: &PhaseRecord) {
    let mut families: BTreeMap<(&str, &str), Family> = BTreeMap::new();
    for finding in &phase.findings {
        let Some(check) = &finding.check else { continue };
        let kernel = finding.unit.split(' ').next().unwrap_or_default();
        let target = finding.unit.rsplit(' ').next().unwrap_or_default();
        families.entry((kernel, target)).or_default().add(finding, check);
    }
    page.push_str(
        "\n## Kernels\n\nEvery case: its error against f64, in units of the bound; alone, in another order and beside \
         NaN, and replayed as a graph the same bits. The last columns compare with the simulated GPU. Where the PTX ISA defines every bit, a \
         difference is wrong; elsewhere it is noted.\n\n\
         | kernel | target | cases | wrong | largest error | bits as simulated | most ulps | bits defined |\n\
         |---|---|---:|---:|---:|---:|---:|---|\n",
    );
    for ((kernel, target), family) in families {
        let Family { cases, wrong, error, same_bits, most_ulps, every_bit_defined } = family;
        let (same, ulps, defined) = if target.starts_with("cpu") {
            (String::new(), String::new(), "")
        } else {
            let defined = if every_bit_defined { "yes" } else { "no" };
            (format!("{same_bits} of {cases}"), most_ulps.to_string(), defined)
        };
        _ = writeln!(
            page,
            "| {kernel} | {target} | {cases} | {wrong} | {error:.2} | {same} | {ulps} | {defined} |"
        );
    }
}

fn models(page: &mut String, phase: &PhaseRecord) {
    page.push_str(
        "\n## Models\n\n| model and target | output | error | bound | alone | other batch | replayed | elements that differ from the \
         simulated GPU | most ulps |\n|---|---|---:|---:|---|---|---|---:|---:|\n",
    );
    checks(page, phase);
}

fn checks(page: &mut String, phase: &PhaseRecord) {
    let said = |same: bool| if same { "same bits" } else { "OTHER BITS" };
    for finding in &phase.findings {
        let Some(check) = &finding.check else { continue };
        for (name, output) in &check.outputs {
            let error = output.error.map_or("NaN".to_owned(), |error| format!("{error:.2e}"));
            let (differ, ulps) = match output.simulated {
                Some(s) => (format!("{} of {}", s.differ, s.elements), s.most_ulps.to_string()),
                None => (String::new(), String::new()),
            };
            _ = writeln!(
                page,
                "| {} | {name} | {error} | {:.2e} | {} | {} | {} | {differ} | {ulps} |",
                finding.unit,
                output.bound,
                said(check.alone_same_bits),
                said(check.other_batch_same_bits),
                said(check.replayed_same_bits),
            );
        }
    }
}

fn sanitizer(page: &mut String, phase: &PhaseRecord) {
    page.push_str("\n## compute-sanitizer\n\n| tool | verdict | said |\n|---|---|---|\n");
    for tool in &phase.tools {
        let verdict = match (tool.ran, tool.clean) {
            (false, _) => "did not run",
            (true, true) => "clean",
            (true, false) => "WRONG",
        };
        _ = writeln!(page, "| {} | {verdict} | {} |", tool.name, tool.said.replace('|', "\\|"));
    }
}

fn timings(page: &mut String, phase: &PhaseRecord, gpu: &str) {
    if phase.findings.iter().any(|finding| finding.check.is_some()) {
        page.push_str(
            "\n## Large models against the CPU\n\n| model | output | error | bound | alone | other batch | replayed | | |\n\
             |---|---|---:|---:|---|---|---|---|---|\n",
        );
        checks(page, phase);
    }
    let timings: Vec<_> = phase.findings.iter().filter_map(|found| found.timing.as_ref()).collect();
    if timings.is_empty() {
        return;
    }
    let limit = limits::of(gpu).map(|limits| limits.half);
    page.push_str(
        "\n## Timings\n\nMedians of a whole run by the host's clock (tables, upload, kernels, download), \
         and of its kernels by the device's, with events around each. Operations are those of linears and attention over \
         the tokens there are; rates are by the device's time.\n",
    );
    if let Some(limit) = limit {
        _ = writeln!(
            page,
            "The last column is a part of {limit} TFLOP/s, which the datasheet promises."
        );
    }
    page.push_str(
        "\n| shape | type | texts | tokens | ms, host | fastest | slowest | ms, replayed | ms, device | tokens/s, host | TFLOP/s | of limit |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for timing in &timings {
        let Timing { shape, dtype, texts, tokens, median_ms, fastest_ms, slowest_ms, .. } = timing;
        let rate = timing.gflop / timing.device_ms;
        let tokens_per_second = *tokens as f64 / median_ms * 1e3;
        _ = writeln!(
            page,
            "| {shape} | {dtype} | {texts} | {tokens} | {median_ms:.3} | {fastest_ms:.3} | {slowest_ms:.3} | \
             {:.3} | {:.3} | {tokens_per_second:.0} | {rate:.2} | {} |",
            timing.replayed_ms,
            timing.device_ms,
            part(rate, limit)
        );
    }
    page.push_str(
        "\n### Kernels of the largest batches\n\n| shape | type | texts | kernel | steps | ms | TFLOP/s | of limit |\n\
         |---|---|---:|---|---:|---:|---:|---:|\n",
    );
    let mut largest: BTreeMap<(&str, &str), &Timing> = BTreeMap::new();
    for timing in timings {
        let known = largest.entry((&timing.shape, &timing.dtype)).or_insert(timing);
        if timing.texts > known.texts {
            *known = timing;
        }
    }
    for ((shape, dtype), timing) in largest {
        for (kernel, time) in &timing.kernels {
            let rate = time.gflop.map(|gflop| gflop / time.ms);
            _ = writeln!(
                page,
                "| {shape} | {dtype} | {} | {kernel} | {} | {:.3} | {} | {} |",
                timing.texts,
                time.steps,
                time.ms,
                rate.map_or(String::new(), |rate| format!("{rate:.2}")),
                rate.map_or(String::new(), |rate| part(rate, limit)),
            );
        }
    }
}

/// A rate as a part of the limit.
fn part(rate: f64, limit: Option<f64>) -> String {
    limit.map_or(String::new(), |limit| format!("{:.1} %", 100.0 * rate / limit))
}

/// What `peer.py` measured, beside bytec's times of the same batches.
fn peers(page: &mut String, record: &Record, peer: &Value) {
    let own: BTreeMap<_, _> = record
        .phases
        .iter()
        .flat_map(|phase| &phase.findings)
        .filter_map(|finding| finding.timing.as_ref())
        .map(|t| ((t.shape.as_str(), t.dtype.as_str(), t.texts), t.median_ms))
        .collect();
    _ = write!(
        page,
        "\n## PyTorch on the same machine\n\nPyTorch {}, an encoder of the same shapes and lengths with random weights. \
         Measured there: a large matrix product at {:.0} TFLOP/s, a copy at {:.0} GB/s.\n\n\
         | shape | type | texts | way | ms (median) | bytec is faster by |\n|---|---|---:|---|---:|---:|\n",
        peer["torch"].as_str().unwrap_or("of an unknown version"),
        peer["matmul_tflops"].as_f64().unwrap_or(f64::NAN),
        peer["copy_gb_per_s"].as_f64().unwrap_or(f64::NAN),
    );
    for row in peer["rows"].as_array().into_iter().flatten() {
        let word = |name: &str| row[name].as_str().unwrap_or("?");
        let (texts, ms) = (row["texts"].as_u64().unwrap_or(0), row["median_ms"].as_f64());
        let key = (word("shape"), word("dtype"), texts);
        let ratio = ms.zip(own.get(&key)).map(|(ms, own)| format!("{:.2}x", ms / own));
        _ = writeln!(
            page,
            "| {} | {} | {texts} | {} | {} | {} |",
            key.0,
            key.1,
            word("way"),
            ms.map_or("failed".to_owned(), |ms| format!("{ms:.3}")),
            ratio.unwrap_or_default()
        );
    }
    let Some(products) = peer["linears"].as_array().filter(|rows| !rows.is_empty()) else { return };
    page.push_str(
        "\n### Linears by cuBLASLt\n\nAs PyTorch calls it; GELU in its tanh form, in the epilogue.\n\n\
         | shape | type | tokens | n | k | form | ms | TFLOP/s |\n|---|---|---:|---:|---:|---|---:|---:|\n",
    );
    for row in products {
        let word = |name: &str| row[name].as_str().unwrap_or("?");
        let count = |name: &str| row[name].as_u64().unwrap_or(0);
        _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {:.4} | {:.0} |",
            word("shape"),
            word("dtype"),
            count("tokens"),
            count("n"),
            count("k"),
            word("form"),
            row["ms"].as_f64().unwrap_or(f64::NAN),
            row["tflops"].as_f64().unwrap_or(f64::NAN),
        );
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;
    use crate::findings::{Differences, KernelTime, OutputCheck};
    use crate::record::{FORMAT, Machine, Tool};

    fn check(unit: &str, error: f64, differ: u64) -> Finding {
        let simulated = Some(Differences { elements: 640, differ, most_ulps: 2 * differ });
        let simulated = simulated.filter(|_| !unit.contains("cpu"));
        let output = OutputCheck { error: Some(error), bound: 2e-3, simulated };
        let check = Check {
            outputs: [("y".to_owned(), output)].into(),
            alone_same_bits: true,
            other_batch_same_bits: differ < 9,
            replayed_same_bits: differ != 3,
            every_bit_defined: unit.contains("f32"),
        };
        Finding { check: Some(check), ..Finding::empty(unit) }
    }

    fn phase(name: &str, units: u64, findings: Vec<Finding>) -> PhaseRecord {
        let name = name.to_owned();
        PhaseRecord { name, seconds: 12.34, units, findings, tools: Vec::new(), stopped: None }
    }

    /// A run with something of everything.
    fn record() -> Record {
        let time = |ms, gflop| KernelTime { steps: 6, ms, gflop };
        let timing = |texts: u64| Timing {
            shape: "minilm".to_owned(),
            dtype: "f16".to_owned(),
            texts,
            tokens: 100 * texts,
            runs: 40,
            replayed_ms: 0.2 * texts as f64,
            device_ms: 0.125 * texts as f64,
            median_ms: 0.25 * texts as f64,
            fastest_ms: 0.2 * texts as f64,
            slowest_ms: 0.5 * texts as f64,
            gflop: 2.5 * texts as f64,
            kernels: [
                ("linear".to_owned(), time(0.5, Some(20.0))),
                ("pool".to_owned(), time(0.125, None)),
            ]
            .into(),
        };
        let timed = |texts| {
            let unit = format!("minilm f16 {texts} texts");
            Finding { timing: Some(timing(texts)), ..Finding::empty(&unit) }
        };
        let tool = |name: &str, ran, clean, said: &str| {
            let (name, said) = (name.to_owned(), said.to_owned());
            Tool { name, clean, ran, said, seconds: 1.0 }
        };
        let wrong = vec!["y: 9 of 640 elements differ".to_owned()];
        let mut kernels = vec![
            check("linear 12 to 20 cpu:f32", 1e-4, 0),
            check("linear 12 to 20 sm_80:f16", 1e-3, 3),
            check("linear 5 to 9 sm_80:f16", 5e-4, 0),
            Finding { wrong, ..check("softmax 33 sm_80:f32", 1e-4, 9) },
        ];
        let why = "this GPU does not run code for this target".to_owned();
        kernels.push(Finding::left_out("softmax 33 sm_90a:f32", why));
        let mut kernels = phase("kernels", 7, kernels);
        kernels.stopped = Some("its limit of 90 s".to_owned());
        let mut sanitizer = phase("sanitizer", 3, Vec::new());
        sanitizer.tools = vec![
            tool("memcheck", true, true, "ERROR SUMMARY: 0 errors"),
            tool("racecheck", true, false, "RACECHECK SUMMARY: 1 hazard displayed"),
            tool("initcheck", false, false, "compute-sanitizer is not on this machine"),
        ];
        let models = phase("models", 1, vec![check("model bert/gelu sm_80:f16", 1e-3, 3)]);
        let agrees = check("minilm f16 against the cpu", 1e-3, 0);
        let timings = phase("timings", 3, vec![agrees, timed(1), timed(8)]);
        let peer = serde_json::json!({
            "torch": "9.9", "matmul_tflops": 700.4, "copy_gb_per_s": 3001.2,
            "rows": [
                {"shape": "minilm", "dtype": "f16", "texts": 8, "way": "padded", "median_ms": 3.0},
                {"shape": "minilm", "dtype": "f16", "texts": 8, "way": "nested", "error": "no such kernel"},
            ],
        });
        Record {
            format: FORMAT,
            date: "2027-01-31".to_owned(),
            commit: "0123456789ab".to_owned(),
            nvrtc: "13.0.88".to_owned(),
            device: "cuda".to_owned(),
            machine: Machine {
                gpu: "NVIDIA H100 80GB HBM3".to_owned(),
                arch: "sm_90".to_owned(),
                details: vec![("driver_version".to_owned(), "580.1".to_owned())],
                cpu: "a processor".to_owned(),
                threads: 16,
            },
            phases: vec![kernels, models, sanitizer, timings],
            peer: Some(peer),
        }
    }

    #[test]
    fn a_page_shows_everything() {
        expect_file!["page.md"].assert_eq(&page(&record()));
    }

    #[test]
    fn records_read_back_and_are_counted() {
        let record = record();
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        let counts: Vec<_> = record.phases.iter().map(PhaseRecord::counts).collect();
        assert_eq!(counts, [[1, 1, 2], [0, 0, 0], [1, 1, 0], [0, 0, 0]]);
        assert!(!record.passed());
        let right = Record { phases: vec![record.phases[1].clone()], ..record.clone() };
        assert!(right.passed());
        assert_eq!(record.name(), "2027-01-31-h100-80gb-hbm3");
    }

    #[test]
    fn runs_are_listed_once_and_the_latest_first() {
        let readme = "# Runs\n\n## Runs\n\nNo run is recorded yet.\n";
        let old = Record { date: "2026-12-24".to_owned(), ..record() };
        let once = listed(readme, &old).unwrap();
        let twice = listed(&listed(&once, &record()).unwrap(), &old).unwrap();
        let expected = "# Runs\n\n## Runs\n\n\
            - [NVIDIA H100 80GB HBM3, 2027-01-31](2027-01-31-h100-80gb-hbm3.md): something is wrong\n\
            - [NVIDIA H100 80GB HBM3, 2026-12-24](2026-12-24-h100-80gb-hbm3.md): something is wrong\n";
        assert_eq!(twice, expected);
    }
}
