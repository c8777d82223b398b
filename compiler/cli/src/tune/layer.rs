//! One sort of linear: its candidates, compiled, run and timed.

use std::sync::Arc;

use bytec_compiler::cost::linear::{Layer, Tile};
use bytec_compiler::report::COMPILER;
use bytec_compiler::tune::{Tunable, retile};
use bytec_compiler::tuned::{FORMAT, Linear, Measured, Table};
use bytec_compiler::{Target, Toolchain};
use bytec_measure::{Meter, Timed, spread};
use bytec_plan::kernel::Kernel;
use bytec_plan::reader::PlanIndex;
use bytec_runtime::cuda::Driver;
use bytec_runtime::{Engine, EngineOptions, SessionOptions};

use crate::failure::Failure;
use crate::product;

/// What all layers have in common.
pub(super) struct Bench {
    /// The device.
    pub(super) driver: Arc<dyn Driver>,
    /// The same, if it can be timed.
    pub(super) timed: Option<Arc<Timed>>,
    /// The program's.
    pub(super) target: Target,
    pub(super) toolchain: Toolchain,
    /// How often each candidate is timed.
    pub(super) runs: u32,
    pub(super) seed: u64,
}

/// What was found for one number of rows.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) rows: u64,
    /// The cost model's tile first.
    pub(super) candidates: Vec<Candidate>,
}

/// A tile, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) tile: Tile,
    /// The median in nanoseconds; none in a dry run.
    pub(super) median_ns: Option<u64>,
}

/// How much quicker than the cost model's another tile has to be, in thousandths: less is chance, and costs a kernel.
const GAIN: u64 = 20;

impl Point {
    /// The candidate to take.
    pub(super) fn chosen(&self) -> Candidate {
        let model = self.candidates[0];
        let timed = self.candidates.iter().filter_map(|one| Some((one.median_ns?, *one)));
        let best = timed.min_by_key(|(time, _)| *time);
        match (best, model.median_ns) {
            (Some((time, best)), Some(by_model)) if time * 1000 <= by_model * (1000 - GAIN) => best,
            _ => model,
        }
    }
}

/// A candidate's plan on the device.
struct Ready {
    tile: Tile,
    engine: Engine,
    meter: Meter,
    /// The linear among the program's steps.
    step: usize,
}

impl Bench {
    /// Measures a layer for these numbers of rows.
    pub(super) fn measure(
        &self,
        of: &Tunable,
        rows: &[u64],
        mut done: impl FnMut(),
    ) -> Result<Vec<Point>, Failure> {
        let mut tiles = Vec::new();
        for tile in rows.iter().flat_map(|rows| Tile::kept(&of.layer, *rows)) {
            if !tiles.contains(&tile) {
                tiles.push(tile);
            }
        }
        let mut ready = self.ready(of, &tiles)?;
        let mut points = Vec::new();
        for &rows in rows {
            points.push(self.point(&of.layer, &mut ready, rows)?);
            done();
        }
        Ok(points)
    }

    /// Compiles a plan for each tile, and opens it.
    fn ready(&self, of: &Tunable, tiles: &[Tile]) -> Result<Vec<Ready>, Failure> {
        let bytes =
            product::plan(&of.layer, of.bias, self.target, self.toolchain.clone(), self.seed)?;
        let index = PlanIndex::read(&bytes).map_err(Failure::internal)?;
        let ways: Vec<_> = tiles.iter().map(|tile| vec![self.only(of, *tile)]).collect();
        let plans = retile((&index, &bytes), 0, &ways, &self.toolchain, &|_, _| {})?;
        let mut ready = Vec::new();
        for (plan, tile) in plans.iter().zip(tiles) {
            let mut bytes = Vec::new();
            plan.write(&mut bytes).map_err(Failure::internal)?;
            let (driver, options) = (Arc::clone(&self.driver), EngineOptions::default());
            let engine = Engine::from_bytes_with_driver(&bytes, driver, options)?;
            let meter = Meter::new(&engine, SessionOptions::default(), self.timed.clone());
            let steps = &engine.program().steps;
            let linear = steps.iter().position(|step| matches!(step.kernel, Kernel::Linear { .. }));
            let step = linear.ok_or_else(|| {
                Failure::internal(anyhow::anyhow!("expected a linear in its own plan, found none"))
            })?;
            ready.push(Ready { tile: *tile, engine, meter, step });
        }
        Ok(ready)
    }

    /// A table that knows this tile for the layer, and nothing else.
    fn only(&self, of: &Tunable, tile: Tile) -> Table {
        let Layer { n, k, epilogue } = of.layer.clone();
        let linear = Linear {
            n,
            k,
            dtype: self.target.dtype().name().to_owned(),
            bias: of.bias,
            epilogue,
            from_rows: 1,
            to_rows: None,
            tile,
            rows: 0,
            median_ns: 0,
            model_ns: 0,
        };
        Table { format: FORMAT, devices: vec![self.table(vec![linear], None)] }
    }

    /// What was measured on this device.
    pub(super) fn table(&self, linears: Vec<Linear>, date: Option<String>) -> Measured {
        let arch = self.driver.arch();
        Measured {
            device: self.driver.name().to_owned(),
            compute_capability: format!("{}.{}", arch.major, arch.minor),
            target: self.target.device(),
            compiler: COMPILER.to_owned(),
            date,
            linears,
        }
    }

    /// Runs all candidates that are worth it for so many rows, in turn.
    fn point(&self, layer: &Layer, ready: &mut [Ready], rows: u64) -> Result<Point, Failure> {
        let kept = Tile::kept(layer, rows);
        let mut ready: Vec<_> =
            ready.iter_mut().filter(|ready| kept.contains(&ready.tile)).collect();
        // The cost model's tile is the first of all kept.
        let mut batches = Vec::new();
        for one in &ready {
            batches.push(product::batch(&one.engine, rows, self.seed)?);
        }
        let mut expected: Option<Vec<u32>> = None;
        for (one, batch) in ready.iter_mut().zip(&batches) {
            let outputs = one.meter.outputs(batch)?;
            let found = bits(&outputs);
            let first = expected.get_or_insert_with(|| found.clone());
            if *first != found {
                return Err(Failure::mismatch(anyhow::anyhow!(
                    "linear {} x {}, {rows} rows: expected the same bits from every tile, found others from {} with {} stages \
                     in bands of {}; nothing was written",
                    layer.n,
                    layer.k,
                    one.tile,
                    one.tile.stages,
                    one.tile.band
                )));
            }
        }
        let mut times = vec![Vec::new(); ready.len()];
        let runs = if self.timed.is_some() { self.runs } else { 0 };
        for _ in 0..runs {
            for ((one, batch), times) in ready.iter_mut().zip(&batches).zip(&mut times) {
                let run = one.meter.steps(batch)?;
                let step = run.steps.iter().find(|step| step.index == one.step);
                times.extend(step.map(|step| step.time.as_secs_f64() * 1e9));
            }
        }
        let candidates = ready.iter().zip(&mut times).map(|(one, times)| {
            spread::sort(times);
            Candidate { tile: one.tile, median_ns: spread::median(times).map(|ns| ns as u64) }
        });
        Ok(Point { rows, candidates: candidates.collect() })
    }
}

/// Every output's bits.
pub(super) fn bits(outputs: &bytec_runtime::Outputs<'_>) -> Vec<u32> {
    let mut bits = Vec::new();
    for name in outputs.names() {
        let Some(output) = outputs.get(name) else { continue };
        for sample in 0..output.len() {
            bits.extend(output.sample(sample).unwrap_or_default().iter().map(|x| x.to_bits()));
        }
    }
    bits
}
