//! Helpers: threads that take a share of the work of whoever asks.
//!
//! A run has a step every few microseconds, so a helper that has done its share looks for the next one for a while before
//! it sleeps, and whoever asked works along and sleeps only if a helper takes long. A helper that is busy, or wakes too
//! late, is not waited for. Nothing is allocated to share work.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};

/// Looks that a thread takes, with a pause after each, before it offers its core to others: some tens of microseconds.
const SPINS: usize = 2000;

/// Looks that it takes after that, before it sleeps.
const YIELDS: usize = 200;

/// The bit of [`Job::pending`] that says that the job's owner sleeps.
const OWNER_SLEEPS: usize = 1 << (usize::BITS - 1);

/// Work that is shared, on the stack of its owner.
struct Job {
    /// The work, called with the number of who does it. It outlives the job's helpers, not `'static`.
    work: *const (dyn Fn(usize) + Sync),
    /// Helpers that have been asked and are not done.
    pending: AtomicUsize,
    owner: Thread,
    /// The panic of a helper.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Where a helper finds its job: one of the marks below, or a job.
#[repr(align(128))]
struct Post(AtomicPtr<Job>);

/// The helper looks for a job.
const FREE: *mut Job = ptr::null_mut();
/// It sleeps.
const ASLEEP: *mut Job = ptr::without_provenance_mut(1);
/// It does a job.
const BUSY: *mut Job = ptr::without_provenance_mut(2);
/// It is to end.
const CLOSED: *mut Job = ptr::without_provenance_mut(3);

/// Some helpers.
pub(super) struct Team {
    helpers: Vec<(Arc<Post>, JoinHandle<()>)>,
    spins: usize,
}

impl Team {
    /// Starts so many helpers.
    pub(super) fn new(helpers: usize) -> io::Result<Team> {
        // With more threads than cores, one that looks for work keeps another from doing it.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let spins = if helpers < cores { SPINS } else { 0 };
        let mut team = Team { helpers: Vec::new(), spins };
        for number in 1..=helpers {
            let post = Arc::new(Post(AtomicPtr::new(FREE)));
            let own = Arc::clone(&post);
            let name = format!("bytec-{number}");
            let handle =
                thread::Builder::new().name(name).spawn(move || serve(&own, number, spins))?;
            team.helpers.push((post, handle));
        }
        Ok(team)
    }

    /// Calls `work` with 0 on this thread, and with the numbers from 1 to at most `helpers` on those helpers that are free,
    /// with each number once at most. Returns when all calls have.
    ///
    /// # Panics
    /// If a call does, after all of them have ended.
    pub(super) fn share(&self, helpers: usize, work: &(dyn Fn(usize) + Sync)) {
        let work_of_helpers = ptr::from_ref(work);
        #[expect(
            unsafe_code,
            reason = "the work outlives its helpers, which the compiler can't see"
        )]
        // SAFETY: the types differ in the lifetime alone. Helpers call the work only between being asked and counting
        // themselves off the job, and `Share` waits for that before this function returns or unwinds.
        let work_of_helpers = unsafe {
            std::mem::transmute::<
                *const (dyn Fn(usize) + Sync + '_),
                *const (dyn Fn(usize) + Sync + 'static),
            >(work_of_helpers)
        };
        let job = Job {
            work: work_of_helpers,
            pending: AtomicUsize::new(0),
            owner: thread::current(),
            panic: Mutex::new(None),
        };
        let share = Share { team: self, job: &job };
        for helper in self.helpers.iter().take(helpers) {
            share.ask(helper);
        }
        work(0);
        drop(share);
        let panic = job.panic.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        for (post, handle) in self.helpers.drain(..) {
            post.0.store(CLOSED, Ordering::Release);
            handle.thread().unpark();
            // Work's panics are its owner's; a helper has none of its own.
            let _ = handle.join();
        }
    }
}

/// A job while helpers may know of it.
struct Share<'a> {
    team: &'a Team,
    job: &'a Job,
}

impl Share<'_> {
    fn address(&self) -> *mut Job {
        ptr::from_ref(self.job).cast_mut()
    }

    /// Gives the job to a helper that is free.
    fn ask(&self, (post, handle): &(Arc<Post>, JoinHandle<()>)) {
        self.job.pending.fetch_add(1, Ordering::Relaxed);
        for found in [FREE, ASLEEP] {
            let (new, order) = (self.address(), Ordering::Release);
            if post.0.compare_exchange(found, new, order, Ordering::Relaxed).is_ok() {
                if found == ASLEEP {
                    handle.thread().unpark();
                }
                return;
            }
        }
        self.job.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Share<'_> {
    /// Takes the job back from helpers that have not begun, and waits for the others.
    fn drop(&mut self) {
        let pending = &self.job.pending;
        for (post, _) in &self.team.helpers {
            let (own, order) = (self.address(), Ordering::Relaxed);
            if post.0.compare_exchange(own, FREE, order, order).is_ok() {
                pending.fetch_sub(1, Ordering::Relaxed);
            }
        }
        for look in 0..self.team.spins + YIELDS {
            if pending.load(Ordering::Acquire) == 0 {
                return;
            }
            pause(look, self.team.spins);
        }
        pending.fetch_or(OWNER_SLEEPS, Ordering::Relaxed);
        while pending.load(Ordering::Acquire) != OWNER_SLEEPS {
            thread::park();
        }
    }
}

/// What a thread does after a look for something that is not there yet.
fn pause(look: usize, spins: usize) {
    if look < spins {
        std::hint::spin_loop();
    } else {
        thread::yield_now();
    }
}

/// What a helper does.
fn serve(post: &Post, number: usize, spins: usize) {
    while let Some(job) = next(post, spins) {
        // SAFETY: the helper has been asked and has not counted itself off, so the job and its work exist; they are only
        // read, but for what is atomic or locked.
        #[expect(unsafe_code, reason = "a job lies on the stack of its owner, who waits for it")]
        let (job, work) = unsafe { (&*job, &*(*job).work) };
        let owner = job.owner.clone();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(number))) {
            *job.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
        // Free before the owner knows of it, who may ask for help again at once.
        post.0.store(FREE, Ordering::Relaxed);
        // The job may be gone from here on.
        if job.pending.fetch_sub(1, Ordering::AcqRel) == OWNER_SLEEPS | 1 {
            owner.unpark();
        }
    }
}

/// The next job; `None` when there will be none.
fn next(post: &Post, spins: usize) -> Option<*const Job> {
    loop {
        for look in 0..spins + YIELDS {
            let found = post.0.load(Ordering::Relaxed);
            if found == CLOSED {
                return None;
            }
            if found != FREE && found != ASLEEP {
                let (order, failed) = (Ordering::Acquire, Ordering::Relaxed);
                if post.0.compare_exchange(found, BUSY, order, failed).is_ok() {
                    return Some(found);
                }
            }
            pause(look, spins);
        }
        let order = Ordering::Relaxed;
        if post.0.compare_exchange(FREE, ASLEEP, order, order).is_ok() {
            while post.0.load(Ordering::Relaxed) == ASLEEP {
                thread::park();
            }
        }
    }
}
