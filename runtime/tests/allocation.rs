//! A run allocates nothing after the first batch of its size class.

#[path = "runtime/encoder.rs"]
mod encoder;
#[path = "runtime/on_device.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use the rest")]
mod on_device;
#[path = "runtime/programs.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use the rest")]
mod programs;
#[path = "runtime/recorder.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use the rest")]
mod recorder;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytec_plan::program::DType;
use bytec_runtime::{Isa, PackedBatch, SessionOptions};

use encoder::{SMALL, encoder, texts};
use recorder::Recorder;

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Those of this thread alone: a device's runs use no other, and a pool that ends may still allocate.
    static OWN: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    COUNT.fetch_add(1, Ordering::Relaxed);
    // A thread that is ending has no count left to keep.
    let _ = OWN.try_with(|own| own.set(own.get() + 1));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it is.
#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// All counting in one test, since tests run at the same time.
#[test]
fn a_run_allocates_nothing_after_the_first_of_its_size_class() {
    let least = on_the_processor();
    println!("allocations of eight runs: {least:?}");
    assert_eq!(least.iter().step_by(2).min(), Some(&0));
    assert_eq!(least.iter().skip(1).step_by(2).min(), Some(&0));
    on_a_device();
}

/// Allocations of eight runs, of two batches in turn.
fn on_the_processor() -> Vec<usize> {
    let build = encoder(SMALL);
    let engine = build.engine(2, Isa::best());
    let batch = |lengths: &[u64]| {
        let mut batch = PackedBatch::new(&engine);
        for text in texts(SMALL, lengths, 5) {
            batch.push(&text.sample()).expect("the text fits");
        }
        batch
    };
    // The second batch has other lengths but sums and a maximum of the same size class.
    let batches = [batch(&[50, 7, 140, 20, 31, 1]), batch(&[139, 30, 51, 7, 1, 20])];
    let mut session = engine.session();
    session.run(&batches[0]).expect("the batch fits");
    // The thread pool's queue takes a block of memory once in about sixty hand-overs, so the least of
    // several counts.
    (0..8)
        .map(|i| {
            let before = COUNT.load(Ordering::Relaxed);
            session.run(&batches[i % 2]).expect("the batch fits");
            COUNT.load(Ordering::Relaxed) - before
        })
        .collect()
}

fn on_a_device() {
    for dtype in [DType::F32, DType::F16] {
        let driver = Arc::new(Recorder::new("sm_80", true));
        let plan = on_device::plan(&on_device::build(), &[("sm_80", dtype)]);
        let engine = on_device::open(&plan, &driver).expect("the plan is good");
        let lengths = [&[50, 7, 140, 20, 31, 0][..], &[139, 30, 51, 7, 1, 20], &[3, 3]];
        let batches = lengths.map(|lengths| on_device::batch(&engine, lengths));
        for graphs in [false, true] {
            let mut session = engine.session_with(SessionOptions { poison: false, graphs });
            // Each class has a graph of its own.
            for batch in &batches[..if graphs { 3 } else { 1 }] {
                session.run(batch).expect("the batch fits");
            }
            for batch in [&batches[0], &batches[1], &batches[2], &batches[0]] {
                let before = OWN.get();
                session.run(batch).expect("the batch fits");
                assert_eq!(OWN.get() - before, 0);
            }
        }
    }
}
