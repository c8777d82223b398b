//! Runs by graphs: captured once for each size class, then replayed.

use bytec_plan::program::DType;
use bytec_runtime::cuda::DriverError;
use bytec_runtime::{Engine, PackedBatch, RunError, Session, SessionOptions};

use crate::device::{RAGGED, launches, order};
use crate::on_device::{batch, build, engine, open, plan};
use crate::programs::bits;
use crate::recorder::{Event, Recorder};

const GRAPHS: SessionOptions = SessionOptions { poison: false, graphs: true };

/// The bits of every output of every sample.
fn run(session: &mut Session, batch: &PackedBatch) -> Vec<Vec<u32>> {
    let outputs = session.run(batch).expect("the batch runs");
    let mut all = Vec::new();
    for name in outputs.names() {
        let output = outputs.get(name).expect("an output of this name");
        all.extend((0..output.len()).filter_map(|i| output.sample(i)).map(bits));
    }
    all
}

/// Another batch of the class of 360 rows and 6 samples.
const SAME_CLASS: [usize; 6] = [340, 2, 3, 1, 1, 0];

#[test]
fn a_size_class_is_captured_once_and_replayed_with_the_same_bits() {
    for dtype in [DType::F32, DType::F16] {
        let (engine, driver) = engine(dtype);
        let (mut plain, mut graphs) = (engine.session(), engine.session_with(GRAPHS));
        let batches = [&RAGGED[..], &SAME_CLASS, &RAGGED].map(|of| batch(&engine, of));
        let expected = batches.each_ref().map(|batch| run(&mut plain, batch));
        let mut orders = Vec::new();
        for (batch, expected) in batches.iter().zip(&expected) {
            driver.take();
            assert!(run(&mut graphs, batch) == *expected);
            let calls = order(&driver.take());
            // Without what makes room for the class.
            orders.push(calls.trim_start_matches('a').to_owned());
        }
        let replayed = "urblblblblblsddd";
        assert_eq!(orders, ["u()rblblblblblsddd", replayed, replayed]);
    }
}

#[test]
fn all_launches_but_the_first_overlap_where_their_kernels_wait() {
    let (engine, driver) = engine(DType::F32);
    let batch = batch(&engine, &RAGGED);
    let overlaps =
        || -> Vec<bool> { launches(&driver.take()).iter().map(|launch| launch.overlaps).collect() };
    for options in [SessionOptions::default(), GRAPHS] {
        let mut session = engine.session_with(options);
        // Nothing of the run before, nor of its upload, runs any more when the first begins.
        for _ in 0..2 {
            session.run(&batch).unwrap();
            assert_eq!(overlaps(), [false, true, false, true, true]);
        }
        // Between two launches of an observed run there is a download.
        session.run_observed(&batch, &mut |_| ()).unwrap();
        assert_eq!(overlaps(), [false; 5]);
    }
}

#[test]
fn grids_cover_the_size_class() {
    let (engine, driver) = engine(DType::F32);
    let mut session = engine.session_with(GRAPHS);
    for lengths in [&RAGGED[..], &SAME_CLASS] {
        session.run(&batch(&engine, lengths)).unwrap();
        let events = driver.take();
        let launched = launches(&events);
        // 352 rows of 6 samples are the class: 352 / 4 blocks; 352 / 64 tiles and one more for each sample.
        let grids: Vec<_> = launched.iter().map(|launch| launch.grid).collect();
        assert_eq!(grids, [[88, 1, 1], [11, 3, 1], [2, 6, 1], [352, 3, 2], [6, 1, 1]]);
        // What lies past the rows is told before each launch, of this very batch.
        let rows = lengths.iter().sum::<usize>() as u64;
        let births = events.iter().filter_map(|event| match event {
            Event::Birth { pointer, bytes, .. } => Some((*pointer, *bytes)),
            _ => None,
        });
        let tails = births.filter(|(pointer, room)| {
            let tail = |bytes| Event::Tail { pointer: pointer + rows * 16, bytes };
            room.checked_sub(rows * 16).is_some_and(|bytes| events.contains(&tail(bytes)))
        });
        assert_eq!(tails.count(), 4);
    }
}

#[test]
fn classes_in_turn_keep_their_graphs_until_their_memory_moves() {
    let (engine, driver) = engine(DType::F32);
    let mut session = engine.session_with(GRAPHS);
    let mut captures = |lengths: &[usize]| {
        driver.take();
        session.run(&batch(&engine, lengths)).unwrap();
        let events = driver.take();
        events.iter().filter(|event| **event == Event::BeginCapture).count()
    };
    assert_eq!([[299, 1], [20, 0], [3, 5]].map(|of| captures(&of)), [1, 1, 1]);
    assert_eq!([[290, 5], [10, 10], [5, 3], [300, 0]].map(|of| captures(&of)), [0, 0, 0, 0]);
    // Without rows there are other launches, so that is a class of its own.
    assert_eq!([[0, 0]; 2].map(|of| captures(&of)), [1, 0]);
    // A larger batch takes other memory.
    assert_eq!([[2999, 1], [20, 0], [20, 0], [1, 2999]].map(|of| captures(&of)), [1, 1, 0, 0]);
    // Of many classes the last are kept.
    captures(&[300; 16]);
    let classes = || (1..15).flat_map(|samples| (1..6).map(move |rows| vec![rows; samples]));
    let mut each: Vec<_> = classes().map(|of| captures(&of)).collect();
    assert_eq!(each.pop(), Some(1));
    assert_eq!([vec![5; 14], vec![4; 14], vec![1]].map(|of| captures(&of)), [0, 0, 1]);
    drop(session);
    drop(engine);
    assert_eq!(driver.held(), (0, 0, 0));
}

#[test]
fn an_observed_run_and_one_of_too_large_a_class_launch_one_by_one() {
    let (engine, driver) = engine(DType::F32);
    let mut session = engine.session_with(GRAPHS);
    let mut seen = 0;
    session.run_observed(&batch(&engine, &RAGGED), &mut |_| seen += 1).unwrap();
    assert_eq!(seen, 5);
    // 65,535 samples are blocks enough along y; their class has one more, which is one too many.
    session.run(&batch(&engine, &vec![1; 65_535])).unwrap();
    assert!(!driver.take().contains(&Event::BeginCapture));
}

#[test]
fn a_failure_in_a_graph_ends_all_runs() {
    let (engine, driver) = engine(DType::F32);
    let full = batch(&engine, &RAGGED);
    let failed = |fail: &dyn Fn(&Recorder), engine: &Engine| {
        let mut session = engine.session_with(GRAPHS);
        fail(&driver);
        let error = session.run(&batch(engine, &RAGGED)).unwrap_err();
        let RunError::Device(DriverError::Failed { asked, .. }) = &error else {
            panic!("{error:?}")
        };
        let asked = asked.clone();
        let after = engine.session().run(&batch(engine, &RAGGED)).unwrap_err();
        assert!(matches!(after, RunError::Broken { .. }), "{after}");
        asked
    };
    engine.session_with(GRAPHS).run(&full).unwrap();
    assert_eq!(failed(&|driver| driver.fail_after(3), &engine), "launch `embed3`");
    let again = open(&plan(&build(), &[("sm_80", DType::F32)]), &driver).unwrap();
    assert_eq!(failed(&|driver| driver.fail_captures(), &again), "capture a stream");
    drop((engine, again, full));
    assert_eq!(driver.held(), (0, 0, 0));
}
