//! Runs on a device, call by call.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytec_plan::program::{DType, Operand, Program, Step};
use bytec_runtime::cuda::{Arch, DriverError};
use bytec_runtime::{
    Elements, Engine, EngineError, EngineOptions, PackedBatch, RunError, Sample, SessionOptions,
};

use crate::on_device::{MANY, WIDTH, batch, build, engine, open, plan, plan_after};
use crate::programs::bits;
use crate::recorder::{Event, Launched, Recorder};

pub(crate) fn launches(events: &[Event]) -> Vec<&Launched> {
    let mut launched = Vec::new();
    for event in events {
        if let Event::Launch(launch) = event {
            launched.push(launch);
        }
    }
    launched
}

/// A letter for every call.
pub(crate) fn order(events: &[Event]) -> String {
    let letters = events.iter().filter_map(|event| match event {
        Event::Upload { .. } => Some('u'),
        Event::Launch(_) => Some('l'),
        Event::Synchronise => Some('s'),
        Event::Download { .. } => Some('d'),
        Event::Birth { .. } => Some('b'),
        Event::Tail { .. } => None,
        Event::Allocate { .. } | Event::Free => Some('a'),
        Event::BeginCapture => Some('('),
        Event::EndCapture => Some(')'),
        Event::Replay => Some('r'),
        Event::Record => Some('t'),
    });
    letters.collect()
}

pub(crate) const RAGGED: [usize; 6] = [1, 7, 0, 64, 65, 200];

#[test]
fn a_run_is_one_upload_the_launches_and_the_downloads() {
    let (engine, driver) = engine(DType::F32);
    let loading = driver.take();
    let uploads = loading.iter().filter(|event| matches!(event, Event::Upload { .. })).count();
    assert_eq!((uploads, loading.last()), (1, Some(&Event::Synchronise)), "the weight");
    let mut session = engine.session();
    let batch = batch(&engine, &RAGGED);
    let outputs = session.run(&batch).unwrap();
    let out = outputs.get("out").unwrap();
    let mut next = 0;
    for (i, length) in RAGGED.iter().enumerate() {
        let expected: Vec<_> = (next..next + length * 4).map(|x| x as f32).collect();
        assert_eq!(out.sample(i), Some(&expected[..]));
        assert_eq!(out.shape(i), Some(vec![*length as u64, WIDTH]));
        next += length * 4;
    }
    assert_eq!(outputs.get("pooled").unwrap().sample(5).map(<[f32]>::len), Some(4));
    driver.take();
    session.run(&batch).unwrap();
    assert_eq!(order(&driver.take()), "ublblblblblsddd");
}

#[test]
fn tables_say_where_each_sample_lies() {
    let (engine, driver) = engine(DType::F32);
    for lengths in [&RAGGED[..], &[64], &[0, 5], &[65, 65, 65], &[1; 40]] {
        let mut session = engine.session();
        session.run(&batch(&engine, lengths)).unwrap();
        let events = driver.take();
        let launched = launches(&events);
        let (first, rows) = (launched[0], lengths.iter().sum::<usize>());
        let (mut offsets, mut places, mut samples, mut tiles) = (vec![0], vec![], vec![], vec![]);
        let longest_first = |tile: &[i32; 2]| Reverse(lengths[tile[0] as usize]);
        for (sample, length) in lengths.iter().enumerate() {
            for row in 0..*length {
                places.push(row as i32);
                samples.push(sample as i32);
                if row % 64 == 0 {
                    tiles.push([sample as i32, row as i32]);
                }
            }
            offsets.push(places.len() as i32);
        }
        tiles.sort_by_key(longest_first);
        let tiles = tiles.concat();
        assert_eq!(first.numbers(2, 1), [rows as i32]);
        assert_eq!(first.numbers(3, 1), [lengths.len() as i32]);
        assert_eq!(first.numbers(4, offsets.len()), offsets);
        assert_eq!(first.numbers(5, rows), places);
        assert_eq!(first.numbers(6, rows), samples);
        assert_eq!(first.numbers(7, tiles.len()), tiles);
        // The input, and ids in 32 bits.
        let x: Vec<_> =
            first.numbers(1, rows * 4).iter().map(|x| f32::from_bits(*x as u32)).collect();
        assert_eq!(x, (0..rows * 4).map(|x| x as f32).collect::<Vec<_>>());
        let ids: Vec<_> = (0..rows as i32).map(|row| row % 10).collect();
        assert_eq!(launched[3].numbers(2, rows), ids);
        // One row a sample.
        let pool = launched[4];
        assert_eq!(pool.numbers(2, 1), [lengths.len() as i32]);
        // Blocks past the last tile have none: of the pooled rows, one tile a sample.
        let pooled: Vec<_> = (0..lengths.len() as i32).flat_map(|sample| [sample, 0]).collect();
        assert_eq!(pool.numbers(7, pooled.len()), pooled);
    }
}

#[test]
fn tables_have_room_for_their_size_class_and_none_past_it() {
    let (engine, driver) = engine(DType::F32);
    let mut session = engine.session();
    // 33 rows are of the class of 36, of which this batch has one tile.
    session.run(&batch(&engine, &[33])).unwrap();
    let events = driver.take();
    let tiles = launches(&events)[0].numbers(7, 2);
    assert_eq!(tiles, [0, 0]);
    session.run(&batch(&engine, &[16, 17])).unwrap();
    session.run(&batch(&engine, &[33, 0])).unwrap();
    let events = driver.take();
    let tiles: Vec<_> =
        launches(&events).iter().filter(|l| l.grid[1] == 3).map(|l| l.numbers(7, 4)).collect();
    assert_eq!(tiles, [[1, 0, 0, 0], [0, 0, -1, 0]]);
}

#[test]
fn grids_count_the_batch() {
    let (engine, driver) = engine(DType::F32);
    let mut session = engine.session();
    session.run(&batch(&engine, &RAGGED)).unwrap();
    let events = driver.take();
    let launched = launches(&events);
    let grids: Vec<_> = launched.iter().map(|launch| launch.grid).collect();
    assert_eq!(grids, [[85, 1, 1], [9, 3, 1], [2, 6, 1], [337, 2, 2], [6, 1, 1]]);
    let rest: Vec<_> = launched.iter().map(|l| (l.block, l.shared, &l.symbol[..])).collect();
    let (copy, nothing) = ("copy_16", "nothing");
    assert_eq!(
        rest,
        [(32, 0, copy), (64, 16, copy), (128, 32, copy), (256, 48, nothing), (512, 64, nothing)]
    );
    // Without rows there is nothing to launch for them; the samples have a pooled row each all the same.
    session.run(&batch(&engine, &[0, 0])).unwrap();
    let events = driver.take();
    assert_eq!(launches(&events).iter().map(|l| l.grid).collect::<Vec<_>>(), [[2, 1, 1]]);
    let outputs_of = batch(&engine, &[]);
    let outputs = session.run(&outputs_of).unwrap();
    assert!(outputs.get("out").unwrap().is_empty());
    assert_eq!(driver.take(), []);
}

/// The rows that count are those of the size class, which a graph is captured for.
#[test]
fn many_rows_are_launched_as_the_plan_says_for_them() {
    let (engine, driver) = engine(DType::F32);
    for graphs in [false, true] {
        let mut session =
            engine.session_with(SessionOptions { graphs, ..SessionOptions::default() });
        for (rows, block) in [(4608, 32), (4609, 64), (8, 32)] {
            // 4,608 is a size class, and the next has 5,120 rows.
            assert_eq!(block == 64, rows > 4608 && MANY == 5000);
            session.run(&batch(&engine, &[rows / 2, rows - rows / 2])).unwrap();
            let events = driver.take();
            let launched = launches(&events);
            let blocks: Vec<_> = launched.iter().map(|launch| launch.block).collect();
            assert_eq!(blocks[..2], [block, 64], "{rows} rows");
        }
    }
}

#[test]
fn buffers_that_live_at_once_lie_apart() {
    let (engine, driver) = engine(DType::F16);
    let mut session = engine.session();
    session.run(&batch(&engine, &RAGGED)).unwrap();
    let events = driver.take();
    let births: BTreeMap<_, _> = events
        .iter()
        .filter_map(|event| match event {
            Event::Birth { name, pointer, bytes } => {
                Some((name.as_str(), *pointer..pointer + bytes))
            }
            _ => None,
        })
        .collect();
    let program = engine.program();
    let steps = &program.steps;
    let last = |buffer: u32| {
        let reads = |step: &Step| {
            step.operands.iter().any(|o| matches!(o, Operand::View(view) if view.buffer == buffer))
        };
        let given = program.outputs.iter().any(|output| output.buffer == buffer);
        if given { steps.len() } else { steps.iter().rposition(reads).unwrap() }
    };
    let mut shared = 0;
    for (i, a) in steps.iter().enumerate() {
        for b in steps[i + 1..].iter().enumerate().map(|(j, b)| (i + 1 + j, b)) {
            let (first, second) = (&births[&a.name[..]], &births[&b.1.name[..]]);
            let apart = first.end <= second.start || second.end <= first.start;
            if last(a.output) >= b.0 {
                assert!(apart, "{} and {}", a.name, b.1.name);
            }
            shared += usize::from(!apart);
        }
    }
    assert_eq!(shared, 1, "the first and the third copy share a slot");
    // Addresses are aligned, and what lies past the rows is known as such.
    let rows = RAGGED.iter().sum::<usize>() as u64;
    for range in births.values() {
        assert!(range.start.is_multiple_of(256));
    }
    let tail = |event: &Event| {
        matches!(event, Event::Tail { pointer, bytes }
        if births.values().any(|b| *pointer == b.start + rows * 8 && pointer + bytes == b.end))
    };
    assert_eq!(events.iter().filter(|event| tail(event)).count(), 4);
}

#[test]
fn a_size_class_is_allocated_once() {
    let (engine, driver) = engine(DType::Bf16);
    let mut session = engine.session();
    let allocations = |events: Vec<Event>| {
        let sizes = events.iter().filter_map(|event| match event {
            Event::Allocate { name, bytes, .. } => Some((name.clone(), *bytes)),
            _ => None,
        });
        sizes.collect::<Vec<_>>()
    };
    driver.take();
    session.run(&batch(&engine, &[500, 20, 3])).unwrap();
    let first = allocations(driver.take());
    let names: Vec<_> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["the batch's inputs and tables", "slot 0", "slot 1", "slot 2", "slot 3"]);
    // 523 rows are of the class of 576, in any order and shape; fewer fit as well.
    for lengths in [&[1, 2, 540][..], &[3, 500, 20], &[5], &[181, 181, 182]] {
        session.run(&batch(&engine, lengths)).unwrap();
        assert_eq!(allocations(driver.take()), []);
    }
    session.run(&batch(&engine, &[577])).unwrap();
    assert!(!allocations(driver.take()).is_empty());
    drop(session);
    drop(engine);
    assert_eq!(driver.held(), (0, 0, 0));
}

#[test]
fn a_failure_ends_all_runs_of_the_engine() {
    let (engine, driver) = engine(DType::F32);
    let batch = batch(&engine, &RAGGED);
    let (mut session, mut other) = (engine.session(), engine.session());
    session.run(&batch).unwrap();
    driver.fail_after(2);
    let failure =
        DriverError::Failed { asked: "launch `softmax2`".to_owned(), said: "it burns".to_owned() };
    let error = session.run(&batch).unwrap_err();
    assert_eq!(error, RunError::Device(failure.clone()));
    assert!(error.to_string().starts_with("the device failed; open the plan again, "));
    assert_eq!(failure.to_string(), "can't launch `softmax2`: it burns");
    driver.take();
    for session in [&mut session, &mut other, &mut engine.session()] {
        let error = session.run(&batch).unwrap_err();
        assert_eq!(error, RunError::Broken { first: failure.clone() });
        assert!(
            error.to_string().starts_with("the device failed in an earlier run of this engine; ")
        );
    }
    assert_eq!(driver.take(), [], "a broken device is left alone");
    let again = open(&plan(&build(), &[("sm_80", DType::F32)]), &driver).unwrap();
    again.session().run(&self::batch(&again, &RAGGED)).unwrap();
}

#[test]
fn too_little_memory_breaks_nothing() {
    let (engine, driver) = engine(DType::F32);
    let small = batch(&engine, &[5]);
    let large = batch(&engine, &[500]);
    let mut session = engine.session();
    for allocations in 0..5 {
        driver.full_after(allocations);
        let error = session.run(&large).unwrap_err();
        assert_eq!(error, RunError::OutOfMemory { samples: 1 });
        session.run(&small).unwrap();
        session.run(&large).unwrap();
        session = engine.session();
    }
    drop((session, engine, small, large));
    assert_eq!(driver.held(), (0, 0, 0));
    driver.full_after(0);
    let error = open(&plan(&build(), &[("sm_80", DType::F32)]), &driver).unwrap_err();
    assert!(matches!(error, EngineError::Driver(DriverError::OutOfMemory { .. })), "{error}");
    assert_eq!(driver.held(), (0, 0, 0));
}

#[test]
fn half_floats_come_through_exactly() {
    for (dtype, widen) in [
        (DType::F16, (|x| half::f16::from_bits(x).to_f32()) as fn(u16) -> f32),
        (DType::Bf16, |x| half::bf16::from_bits(x).to_f32()),
    ] {
        let mut build = build();
        build.program.symbols[0].max = 1 << 14;
        let driver = Arc::new(Recorder::new("sm_80", true));
        let engine = open(&plan(&build, &[("sm_80", dtype)]), &driver).unwrap();
        let x: Vec<_> = (0..=u16::MAX).map(widen).collect();
        let shape = [1 << 14, WIDTH];
        let mut batch = PackedBatch::new(&engine);
        batch.push(&Sample::new().with("x", &shape, Elements::F32(&x))).unwrap();
        let mut session =
            engine.session_with(SessionOptions { poison: true, ..SessionOptions::default() });
        let outputs = session.run(&batch).unwrap();
        let out = outputs.get("out").unwrap().sample(0).unwrap();
        assert_eq!(out.len(), x.len());
        for (got, expected) in out.iter().zip(&x) {
            let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
            assert!(same, "{expected:e} came back as {got:e}");
        }
    }
}

#[test]
fn a_device_runs_the_program_that_suits_it_best() {
    let pick = |arch: &str, targets: &[&str]| {
        let targets: Vec<_> = targets.iter().map(|target| (*target, DType::F32)).collect();
        let driver = Arc::new(Recorder::new(arch, true));
        open(&plan(&build(), &targets), &driver).map(|engine| engine.program().target.clone())
    };
    let all = ["cpu", "sm_80", "sm_90a", "sm_86", "compute_80", "sm_120"];
    for (arch, expected) in [
        ("sm_80", "sm_80"),
        ("sm_86", "sm_86"),
        ("sm_89", "sm_86"),
        ("sm_90", "sm_90a"),
        ("sm_100", "sm_86"),
        ("sm_120", "sm_120"),
    ] {
        assert_eq!(pick(arch, &all).unwrap(), expected, "{arch}");
    }
    let strip = |program: &mut Program| {
        for module in program.device.iter_mut().flat_map(|code| &mut code.modules) {
            module.ptx = None;
        }
    };
    let stripped = plan_after(&build(), &[("sm_80", DType::F32)], strip);
    let hopper = Arc::new(Recorder::new("sm_90", true));
    assert!(matches!(open(&stripped, &hopper), Err(EngineError::NoDeviceProgram { .. })));
    assert_eq!(pick("sm_90", &["cpu", "compute_80"]).unwrap(), "compute_80");
    for (arch, targets) in
        [("sm_75", &all[..]), ("sm_80", &["cpu", "sm_90a"]), ("sm_100", &["sm_90a"])]
    {
        assert!(pick(arch, targets).is_err(), "{arch}");
    }
    assert_eq!(
        pick("sm_80", &["cpu", "sm_90a"]).unwrap_err().to_string(),
        "expected a program for entry `forward` that recorder (sm_80) can run, found forward for cpu, forward for \
         sm_90a; compile the plan with `--target sm_80`, and with its PTX for GPUs of a later generation"
    );
    // The processor takes its own program only.
    let engine =
        Engine::from_bytes(&plan(&build(), &[("sm_80", DType::F32)]), EngineOptions::default());
    assert!(matches!(engine, Err(EngineError::NoProgram { .. })));
    let disguised =
        plan_after(&build(), &[("sm_80", DType::F16)], |p| "cpu".clone_into(&mut p.target));
    let engine = Engine::from_bytes(&disguised, EngineOptions::default());
    assert!(matches!(engine, Err(EngineError::NoProgram { .. })));
}

#[test]
fn sessions_on_one_device_run_at_the_same_time() {
    let (engine, driver) = engine(DType::F32);
    std::thread::scope(|scope| {
        for lengths in [&RAGGED[..], &[5], &[100, 3], &[9; 9]] {
            let engine = &engine;
            scope.spawn(move || {
                let (batch, mut session) = (batch(engine, lengths), engine.session());
                for _ in 0..20 {
                    let outputs = session.run(&batch).unwrap();
                    let out = outputs.get("out").unwrap();
                    let all: Vec<_> =
                        (0..lengths.len()).flat_map(|i| out.sample(i).unwrap()).collect();
                    assert!(all.iter().enumerate().all(|(i, x)| **x == i as f32));
                    assert!(bits(out.sample(0).unwrap()).len() == lengths[0] * 4);
                }
            });
        }
    });
    drop(engine);
    assert_eq!(driver.held(), (0, 0, 0));
}

#[test]
fn more_blocks_than_devices_run_are_refused_before_anything_is_done() {
    let (engine, driver) = engine(DType::F32);
    let mut session = engine.session();
    driver.take();
    let error = session.run(&batch(&engine, &vec![1; 65_536])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "step `softmax2`: expected at most 65535 blocks along y, found 65536; run fewer samples at once"
    );
    assert_eq!(driver.take(), []);
    session.run(&batch(&engine, &vec![1; 65_535])).unwrap();
}

#[test]
fn architectures_have_names() {
    for name in ["sm_75", "sm_80", "sm_90", "sm_90a", "sm_103a", "sm_120"] {
        assert_eq!(name.parse::<Arch>().unwrap().to_string(), name);
    }
    for name in ["", "sm_", "sm_8", "sm_80b", "sm_a", "SM_80", "80", "sm_+80", "sm_99999", "sm_8é"]
    {
        let error = name.parse::<Arch>().unwrap_err().to_string();
        assert_eq!(error, format!("expected an architecture such as `sm_80`, found `{name}`"));
    }
}
