//! Runs of a session, timed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytec_plan::program::Program;
use bytec_runtime::cuda::DriverError;
use bytec_runtime::{Engine, Outputs, PackedBatch, RunError, Session, SessionOptions};

use crate::timed::Timed;

/// A session with its clocks.
#[derive(Debug)]
pub struct Meter {
    engine: Engine,
    session: Session,
    /// Launches one by one, where the other replays graphs, whose launches no clock sees.
    single: Option<Session>,
    timed: Option<Arc<Timed>>,
}

/// A step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// Its place among the program's steps.
    pub index: usize,
    /// When it began: on the processor from the beginning of the run, on a device from that of its first launch.
    pub begin: Duration,
    /// How long it took.
    pub time: Duration,
}

/// A time in which a thread of the processor worked on a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadTime {
    /// The step's place among the program's steps.
    pub index: usize,
    /// The thread's place among those of the engine.
    pub thread: usize,
    /// When it began, from the beginning of the run.
    pub begin: Duration,
    /// How long it took.
    pub time: Duration,
}

/// A run, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTime {
    /// The whole run, by the host's clock. Longer than a run that is not looked at.
    pub all: Duration,
    /// Each step that had rows, in order.
    pub steps: Vec<StepTime>,
    /// What each thread of the processor did; nothing of a device's.
    pub threads: Vec<ThreadTime>,
}

/// A run could not be timed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The driver could not take the times.
    #[error("can't take the times of a run's launches: {0}")]
    Driver(#[from] DriverError),
}

impl Meter {
    /// A new session of the engine. `timed` is the driver that the engine was opened with, if that is a device whose
    /// launches are to be timed.
    pub fn new(engine: &Engine, options: SessionOptions, timed: Option<Arc<Timed>>) -> Self {
        let single = SessionOptions { graphs: false, ..options };
        Self {
            engine: engine.clone(),
            session: engine.session_with(options),
            single: (timed.is_some() && options.graphs).then(|| engine.session_with(single)),
            timed,
        }
    }

    /// Runs a batch: the time from the batch to its outputs on the host.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run(&mut self, batch: &PackedBatch) -> Result<Duration, RunError> {
        let begun = Instant::now();
        self.session.run(batch)?;
        Ok(begun.elapsed())
    }

    /// Runs a batch and shows its outputs.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn outputs<'a>(&'a mut self, batch: &'a PackedBatch) -> Result<Outputs<'a>, RunError> {
        self.session.run(batch)
    }

    /// Bytes of the session's arena as it stands.
    pub fn arena_bytes(&self) -> usize {
        self.session.arena_bytes()
    }

    /// Runs a batch and takes the time of each step: on the processor between one result and the next, on a device by
    /// its own clock.
    ///
    /// # Errors
    /// As [`Session::run`], or when the driver can't take times.
    pub fn steps(&mut self, batch: &PackedBatch) -> Result<RunTime, MeterError> {
        let Meter { engine, session, single, timed } = self;
        let session = single.as_mut().unwrap_or(session);
        let begun = Instant::now();
        let Some(timed) = timed else {
            let (mut steps, mut threads) = (Vec::new(), Vec::new());
            let mut last = Duration::ZERO;
            session.run_observed(batch, &mut |step| {
                let now = begun.elapsed();
                steps.push(StepTime { index: step.index(), begin: last, time: now - last });
                threads.extend(step.threads().iter().map(|span| ThreadTime {
                    index: step.index(),
                    thread: span.thread,
                    begin: span.begun - begun,
                    time: span.ended - span.begun,
                }));
                last = now;
            })?;
            return Ok(RunTime { all: begun.elapsed(), steps, threads });
        };
        let times = timed.time(|| session.run(batch).map(|_| ()).map_err(MeterError::from))?;
        let all = begun.elapsed();
        let places = places(engine.program());
        let place = |step: &str| places.get(step).copied().unwrap_or_default();
        let steps = times.launches.iter().map(|launch| StepTime {
            index: place(&launch.step),
            begin: launch.begin,
            time: launch.time,
        });
        Ok(RunTime { all, steps: steps.collect(), threads: Vec::new() })
    }
}

/// Where each step stands, by its name, which no other has.
fn places(program: &Program) -> BTreeMap<&str, usize> {
    program.steps.iter().enumerate().map(|(index, step)| (step.name.as_str(), index)).collect()
}
