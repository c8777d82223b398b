//! `bytec bench`: what it prints and writes, and what it refuses. No test looks at how long anything takes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Place, json, printed, said};

/// Arguments that keep a measurement short.
const SHORT: [&str; 4] = ["--duration", "0", "--threads", "2"];

fn bench(place: &Place, more: &[&str]) -> Value {
    json(&place.good(&[&["bench", "a.plan", "--json"], &SHORT[..], more].concat()))
}

fn positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|x| x > 0.0 && x.is_finite())
}

#[test]
fn a_measurement_has_every_field() {
    let place = Place::new();
    let found = bench(&place, &["--lengths", "fixed:16", "--batch", "2,5", "--profile"]);
    let words = |names: [&str; 5]| names.map(|name| found[name].as_str().unwrap_or("none"));
    assert_eq!(
        words(["plan", "model", "target", "dtype", "device"]),
        ["a.plan", "bert BertModel", "cpu", "f32", "cpu"]
    );
    assert_eq!((&found["lengths"], &found["threads"]), (&"fixed:16".into(), &2.into()));
    for ceiling in ["copy_gb_per_s", "product_tflop_per_s", "fma_tflop_per_s"] {
        assert!(positive(&found["ceilings"][ceiling]), "{ceiling}: {}", found["ceilings"]);
    }
    let rows = found["rows"].as_array().expect("a row for each number of samples");
    for (row, samples) in rows.iter().zip([2.0, 5.0]) {
        assert_eq!(
            (row["samples"].as_f64(), row["tokens"].as_f64()),
            (Some(samples), Some(16.0 * samples))
        );
        assert_eq!(row["padding_avoided"], 0.0);
        assert!(row["runs"].as_u64() >= Some(5) && row["batches"].as_u64() >= Some(8), "{row}");
        let times = &row["times"];
        for field in
            ["pack_ms", "samples_per_s", "tokens_per_s", "tflop_per_s", "of_product", "of_fma"]
        {
            assert!(positive(&times[field]), "{field}: {times}");
        }
        let latencies: Vec<_> = ["p50", "p90", "p99"]
            .map(|p| times["latency_ms"][p].as_f64().expect("a latency"))
            .into();
        assert!(latencies.is_sorted() && latencies[0] > 0.0, "{latencies:?}");
        // Two layers of hidden size 24 and inner size 40 for each token, and attention over 16 tokens.
        let linears = 2.0 * 24.0 * f64::from(3 * 24 + 24 + 40 + 40);
        let expected = samples * 16.0 * 2.0 * (linears + 4.0 * 24.0 * 16.0);
        assert_eq!(row["gflop"].as_f64(), Some(expected / 1e9));
        let steps = row["steps"].as_array().expect("a line for each step");
        assert_eq!(Some(steps.len() as f64), row["launches"].as_f64());
        for lines in [steps, row["kernels"].as_array().expect("a line for each kernel")] {
            let share: f64 = lines.iter().filter_map(|line| line["share"].as_f64()).sum();
            assert!((share - 1.0).abs() < 1e-9, "{share}");
            let gflop: f64 = lines.iter().filter_map(|line| line["gflop"].as_f64()).sum();
            assert!((gflop - expected / 1e9).abs() < 1e-12, "{gflop}");
            assert!(lines.iter().all(|line| positive(&line["megabytes"]) && positive(&line["ms"])));
        }
    }
    let text = printed(&place.good(&[&["bench", "a.plan", "--profile"], &SHORT[..]].concat()));
    for part in [
        "a.plan for cpu in f32 on ",
        "lengths uniform:8-32, seed 0",
        "ceilings copy ",
        " of ceiling",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn lengths_are_as_asked() {
    let place = Place::new();
    place.write("sizes.txt", b"4\n\n16\n32\n");
    let row = |more: &[&str]| bench(&place, more)["rows"][0].clone();
    let listed = row(&["--lengths", "file:sizes.txt"]);
    assert_eq!((listed["samples"].as_f64(), listed["tokens"].as_f64()), (Some(3.0), Some(52.0)));
    let avoided = listed["padding_avoided"].as_f64().expect("a share");
    assert!((avoided - (1.0 - 52.0 / 96.0)).abs() < 1e-12, "{avoided}");
    // Of 4, 16, 32 no batch of 36 tokens holds more than the first two, nor more than two of 32, 4.
    let budget = row(&["--lengths", "file:sizes.txt", "--tokens", "36"]);
    assert!(budget["tokens"].as_f64().is_some_and(|tokens| tokens <= 36.0), "{budget}");
    let found = bench(&place, &["--ratio", "0.6", "--longest", "30", "--percentiles", "0,99.9"]);
    assert_eq!(found["lengths"], "uniform:6-30 (ratio 0.6 of 30)");
    let latencies = found["rows"][0]["times"]["latency_ms"].as_object().expect("latencies");
    assert_eq!(latencies.keys().collect::<Vec<_>>(), ["p0", "p99.9"]);
    assert_eq!(bench(&place, &["--ratio", "1"])["lengths"], "uniform:32-32 (ratio 1 of 32)");
    assert_eq!(row(&["--runs", "2", "--batch", "1"])["runs"], 2);
    let same = |seed: &str| row(&["--seed", seed])["tokens"].clone();
    assert_eq!(same("3"), same("3"));
}

/// What a reader of the format needs of each event, and that the steps follow each other within the run.
#[test]
fn the_trace_is_one_that_perfetto_reads() {
    let place = Place::new();
    bench(&place, &["--trace", "trace.json"]);
    let text = std::fs::read(place.path("trace.json")).expect("the trace is there");
    let trace: Value = serde_json::from_slice(&text).expect("it is JSON");
    assert_eq!(trace["displayTimeUnit"], "ms");
    let events = trace["traceEvents"].as_array().expect("a list of events");
    let mut names = BTreeSet::new();
    let mut tracks = BTreeSet::new();
    for event in events {
        let name = event["name"].as_str().expect("every event has a name");
        let track = [&event["pid"], &event["tid"]].map(|id| id.as_u64().expect("a number"));
        match event["ph"].as_str() {
            Some("M") => {
                assert!(event["args"]["name"].as_str().is_some_and(|name| !name.is_empty()));
                assert!(["process_name", "thread_name"].contains(&name), "{name}");
                tracks.insert(track);
            }
            Some("X") => {
                let [begin, time] =
                    ["ts", "dur"].map(|field| event[field].as_f64().expect("microseconds"));
                assert!(begin >= 0.0 && time >= 0.0, "{event}");
                assert!(event["cat"].is_string() && event["args"].is_object(), "{event}");
                assert!(tracks.contains(&track), "tracks are named first: {event}");
                names.insert(name);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(names.contains("pack") && names.contains("run"), "{names:?}");
    let of = |name: &str| events.iter().find(|event| event["name"] == name).expect("it is there");
    let end = |event: &Value| event["ts"].as_f64().unwrap() + event["dur"].as_f64().unwrap();
    let steps: Vec<_> = events.iter().filter(|event| event["args"]["kernel"].is_string()).collect();
    let plan = json(&place.good(&["inspect", "a.plan", "--json"]));
    let expected: Vec<_> =
        plan["programs"][0]["steps"].as_array().unwrap().iter().map(|step| &step["name"]).collect();
    assert_eq!(steps.iter().map(|step| &step["name"]).collect::<Vec<_>>(), expected);
    assert!(steps.windows(2).all(|pair| end(pair[0]) <= pair[1]["ts"].as_f64().unwrap() + 1e-3));
    assert!(end(steps[steps.len() - 1]) <= end(of("run")) + 1e-3);
    // What the threads did lies within the step that they did it for.
    let first = events.iter().find(|event| event["args"]["name"] == "thread 0").expect("a track");
    for step in steps {
        let worked = events.iter().filter(|event| {
            event["name"] == step["name"] && event["tid"].as_u64() >= first["tid"].as_u64()
        });
        let within = |event: &Value| {
            event["ts"].as_f64().unwrap() >= step["ts"].as_f64().unwrap() - 1e-3
                && end(event) <= end(step) + 1e-3
        };
        assert!(worked.clone().count() > 0 && worked.clone().all(within), "{step}");
    }
}

#[test]
fn the_plot_is_a_picture_with_its_words() {
    let place = Place::new();
    let found = bench(&place, &["--plot", "plot.svg", "--lengths", "fixed:4"]);
    let samples: Vec<_> = found["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["samples"].as_f64().unwrap())
        .collect();
    assert_eq!(samples, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
    let svg = String::from_utf8(std::fs::read(place.path("plot.svg")).unwrap()).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    for word in ["a.plan for cpu in f32", "tokens of a batch", "tokens/s", "\n64\n"] {
        assert!(svg.contains(word), "{word}\n{svg}");
    }
    assert_eq!(svg.matches("<circle ").count(), samples.len());
}

#[test]
fn what_can_not_be_measured_is_refused() {
    let place = Place::new();
    place.write("words.txt", b"4\nmany\n");
    place.write("long.txt", b"33\n");
    place.write("empty.txt", b"\n");
    let cases: [(&[&str], &str, i32); 16] = [
        (&["--lengths", "zipf:1"], "expected uniform:8-256, fixed:128 or file:PATH", 2),
        (&["--lengths", "fixed:33"], "--lengths: expected L from 1 to 32, found 33", 2),
        (&["--lengths", "uniform:0-8"], "--lengths: expected L from 1 to 32, found 0", 2),
        (&["--lengths", "fixed:3x4"], "--lengths: expected the sizes of L, found 3x4", 2),
        (&["--lengths", "file:none.txt"], "can't read none.txt", 2),
        (&["--lengths", "file:words.txt"], "words.txt, line 2: expected a size, found `many`", 2),
        (&["--lengths", "file:long.txt"], "long.txt, line 1: expected L from 1 to 32, found 33", 2),
        (&["--lengths", "file:empty.txt"], "empty.txt: expected a size on each line", 2),
        (&["--ratio", "0"], "expected a number above 0 and up to 1", 2),
        (&["--ratio", "0.5", "--longest", "64"], "--longest: expected L from 1 to 32, found 64", 2),
        (&["--tokens", "3", "--lengths", "fixed:4"], "--tokens 3: expected room for one sample", 2),
        (&["--batch", "0"], "0 is not in 1..", 2),
        (&["--percentiles", "101"], "expected a number from 0 to 100", 2),
        (&["--graphs"], "--graphs: expected --device cuda, found --device cpu", 2),
        (&["--device", "sim", "--trace", "t.json"], "--trace: expected --device cpu or cuda", 2),
        (&["--plot", "nowhere/plot.svg"], "can't write nowhere/plot.svg", 2),
    ];
    for (arguments, why, code) in cases {
        let output = place.command(&[&["bench", "a.plan"], arguments].concat()).output().unwrap();
        assert!(said(&output).contains(why), "{arguments:?}: {}", said(&output));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(printed(&output), "", "{arguments:?}");
    }
    let output = place.command(&["bench", "a.plan", "--trace", "a.plan"]).output().unwrap();
    assert!(said(&output).contains("expected a file to write, found one that is read"));
    // No program for a GPU is in the plan.
    let output = place.command(&["bench", "a.plan", "--device", "sim"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
}
