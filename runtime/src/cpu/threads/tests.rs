//! Work shared among threads: each task once, whatever the threads, and panics that neither hang nor lose a thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use super::*;

/// Each of so many rows takes its number and what the row had before.
fn step(threads: &Threads, scratch: &mut [()], out: &mut [f32]) {
    let cut = Cut { rows: Bands::Every { rows: out.len(), step: 1 }, columns: 1 };
    threads.blocks(scratch, out, 1, cut, |(), block| {
        let row = block.rows.start;
        block.row(row)[0] += (row + 1) as f32;
    });
}

#[test]
fn each_task_is_done_once_in_each_of_many_steps() {
    for count in [1, 2, 3, 16] {
        let threads = Threads::new(Some(count)).unwrap();
        let (mut scratch, mut out) = (vec![(); count], [0.0; 5]);
        for _ in 0..2000 {
            threads.enter(|| step(&threads, &mut scratch, &mut out));
        }
        assert_eq!(out, [2000.0, 4000.0, 6000.0, 8000.0, 10000.0], "{count} threads");
    }
}

#[test]
fn helpers_that_sleep_wake_for_work_that_waits_for_them() {
    let threads = Threads::new(Some(3)).unwrap();
    for _ in 0..20 {
        // Long enough for helpers to go to sleep, and no matter if they do not.
        thread::sleep(std::time::Duration::from_millis(2));
        let (all, seen) = (Barrier::new(3), AtomicU64::new(0));
        threads.each(&mut [(); 3], 3, |(), task| {
            seen.fetch_or(1 << task, Ordering::Relaxed);
            all.wait();
        });
        assert_eq!(seen.into_inner(), 0b111);
    }
}

#[test]
fn with_fewer_scratches_fewer_threads_work() {
    let threads = Threads::new(Some(4)).unwrap();
    for scratches in 0..4usize {
        let mut scratch = vec![[0.0f32]; scratches];
        threads.each(&mut scratch, 100, |scratch, _| scratch[0] += 1.0);
        let done: f32 = scratch.iter().map(|scratch| scratch[0]).sum();
        assert_eq!(done, if scratches == 0 { 0.0 } else { 100.0 }, "{scratches} scratches");
    }
}

#[test]
fn a_panic_reaches_the_caller_and_loses_no_thread() {
    let threads = Threads::new(Some(3)).unwrap();
    for panicking in 0..3 {
        let (all, done) = (Barrier::new(3), AtomicUsize::new(0));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            threads.enter(|| {
                // Each thread has one task, and one of them panics while the others are at work.
                threads.each(&mut [(); 3], 3, |(), task| {
                    all.wait();
                    assert!(task != panicking, "task {task}");
                    done.fetch_add(1, Ordering::Relaxed);
                });
            });
        }));
        let panic = outcome.unwrap_err();
        assert_eq!(panic.downcast_ref::<String>(), Some(&format!("task {panicking}")));
        assert_eq!(done.into_inner(), 2, "the others end their work first");
        assert_eq!(threads.running.load(Ordering::Relaxed), 0);
    }
    let (mut scratch, mut out) = ([(); 3], [0.0; 3]);
    step(&threads, &mut scratch, &mut out);
    assert_eq!(out, [1.0, 2.0, 3.0]);
}

#[test]
fn callers_side_by_side_and_within_tasks_get_their_work_done() {
    let threads = Threads::new(Some(3)).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (mut scratch, mut out) = ([(); 3], [0.0; 4]);
                for _ in 0..500 {
                    threads.enter(|| step(&threads, &mut scratch, &mut out));
                }
                assert_eq!(out, [500.0, 1000.0, 1500.0, 2000.0]);
            });
        }
    });
    let sum = AtomicUsize::new(0);
    threads.each(&mut [(); 3], 6, |(), outer| {
        threads.each(&mut [(); 3], 4, |(), inner| {
            sum.fetch_add(10 * outer + inner, Ordering::Relaxed);
        });
    });
    assert_eq!(sum.into_inner(), 10 * 15 * 4 + 6 * 6);
}
