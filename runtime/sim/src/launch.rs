//! A launch: its geometry and arguments held against the kernel, its blocks spread over threads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use crate::chain::Chain;
use crate::device::{Arg, Device};
use crate::exec::{self, Launch, Ran};
use crate::fault::{AccessKind, Fault, FaultKind};
use crate::memory::blockrace::Merged;
use crate::memory::global::Undo;
use crate::module::Kernel;
use crate::profile::Profile;

/// The most blocks of a cluster that every GPU with clusters takes.
const CLUSTER: u32 = 8;

fn refuse(kernel: &Kernel, expected: String, found: String) -> Box<Fault> {
    Fault::launch(kernel.name(), FaultKind::Launch { expected, found })
}

/// The parameter block of a launch.
pub(crate) fn params(kernel: &Kernel, args: &[Arg]) -> Result<Vec<u8>, Box<Fault>> {
    let params = kernel.params();
    if params.len() != args.len() {
        let expected = format!("{} arguments", params.len());
        return Err(refuse(kernel, expected, args.len().to_string()));
    }
    let mut block = vec![0; kernel.program.param_bytes as usize];
    for (param, arg) in params.iter().zip(args) {
        let bytes = arg.bytes();
        if bytes.len() != param.bytes as usize {
            let expected = format!("{} bytes for parameter {}", param.bytes, param.name);
            return Err(refuse(kernel, expected, format!("{} bytes", bytes.len())));
        }
        block[param.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    Ok(block)
}

/// Holds a launch's geometry against the limits of GPUs and the kernel's own bounds.
pub(crate) fn geometry(
    device: &Device,
    kernel: &Kernel,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
) -> Result<(), Box<Fault>> {
    let within = |what: &str, found: [u32; 3], limits: [u32; 3]| {
        if found.iter().zip(limits).all(|(found, limit)| (1..=limit).contains(found)) {
            return Ok(());
        }
        let expected = format!("a {what} from (1, 1, 1) to {limits:?}");
        Err(refuse(kernel, expected, format!("{found:?}")))
    };
    within("grid", grid, [i32::MAX as u32, 65_535, 65_535])?;
    within("block", block, [1024, 1024, 64])?;
    let threads: u32 = block.iter().product();
    let most = kernel.program.max_threads.unwrap_or(1024).min(1024);
    if threads > most {
        return Err(refuse(kernel, format!("at most {most} threads a block"), threads.to_string()));
    }
    if let Some(required) = kernel.program.required_threads
        && required != block
    {
        return Err(refuse(kernel, format!("a block of {required:?}"), format!("{block:?}")));
    }
    let cluster = kernel.program.cluster;
    let blocks = cluster.iter().fold(1u32, |blocks, side| blocks.saturating_mul(*side));
    if !(1..=CLUSTER).contains(&blocks) {
        let expected = format!("clusters of 1 to {CLUSTER} blocks");
        return Err(refuse(kernel, expected, format!("{cluster:?}")));
    }
    if grid.iter().zip(cluster).any(|(grid, side)| grid % side != 0) {
        let expected = format!("a grid of whole clusters of {cluster:?} blocks");
        return Err(refuse(kernel, expected, format!("{grid:?}")));
    }
    let shared = u64::from(kernel.program.dynamic_at) + u64::from(dynamic_shared);
    if shared > u64::from(device.shared_limit) {
        let expected = format!("at most {} bytes of shared memory", device.shared_limit);
        return Err(refuse(kernel, expected, shared.to_string()));
    }
    Ok(())
}

/// Counts of some clusters, and the lowest of their faults.
struct Sum {
    profile: Profile,
    counts: Vec<u64>,
    fault: Option<(u64, Box<Fault>)>,
}

impl Sum {
    fn new(places: usize) -> Self {
        Self { profile: Profile::default(), counts: vec![0; places], fault: None }
    }

    fn ran(&mut self, ran: &Ran) {
        self.profile.add(&ran.profile);
        for (sum, count) in self.counts.iter_mut().zip(&ran.counts) {
            *sum += count;
        }
    }

    fn failed(&mut self, block: u64, fault: Box<Fault>) {
        if self.fault.as_ref().is_none_or(|(other, _)| block < *other) {
            self.fault = Some((block, fault));
        }
    }

    fn merge(mut self, other: Sum) -> Self {
        self.profile.add(&other.profile);
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
        if let Some((block, fault)) = other.fault {
            self.failed(block, fault);
        }
        self
    }
}

/// Runs all blocks: side by side at first, and again in order if anything went wrong, so that the
/// fault that is told is the first one.
pub(crate) fn run(
    device: &Device,
    kernel: &Kernel,
    (grid, block): ([u32; 3], [u32; 3]),
    dynamic_shared: u32,
    params: &[u8],
    chain: &mut Chain,
) -> Result<Profile, Box<Fault>> {
    let ahead = std::mem::take(chain);
    let merged = Arc::<Merged>::default();
    let ran = run_behind(device, kernel, (grid, block, dynamic_shared), params, (&ahead, &merged))?;
    *chain = ahead;
    chain.add(&merged);
    Ok(ran)
}

fn run_behind(
    device: &Device,
    kernel: &Kernel,
    (grid, block, dynamic_shared): ([u32; 3], [u32; 3], u32),
    params: &[u8],
    (ahead, merged): (&Chain, &Arc<Merged>),
) -> Result<Profile, Box<Fault>> {
    let program = &kernel.program;
    let cluster = program.cluster;
    // Clusters along each axis; they are run as blocks are where there are none.
    let grid_of_clusters = std::array::from_fn(|axis| grid[axis] / cluster[axis]);
    let clusters = grid_of_clusters.iter().map(|n| u64::from(*n)).product::<u64>();
    let globals = device.globals.get(&kernel.module.number).map_or(&[][..], Vec::as_slice);
    let tracked = device.checks.taint
        && device.allocations.iter().flatten().any(|allocation| !allocation.marks.is_empty());
    let mut launch = Launch {
        program,
        allocations: &device.allocations,
        globals,
        constants: &kernel.module.constants,
        params,
        grid,
        block,
        cluster,
        shared_bytes: program.dynamic_at + dynamic_shared,
        checks: device.checks,
        tracked,
        undo: None,
        merged: Arc::clone(merged),
        ahead: ahead.is_open().then_some(ahead),
        in_order: false,
        wide_atomics: Mutex::new(()),
        isa: device.isa,
        branch_limit: device.branch_limit,
    };
    let side_by_side = device.parallel && clusters > 1 && rayon::current_num_threads() > 1;
    let mut first = None;
    if side_by_side {
        launch.undo = Some(Undo::new(device.allocations.iter().map(Option::as_ref)));
        let sum = parallel(&launch, clusters, grid_of_clusters);
        match sum.fault {
            None => return Ok(profile(kernel, sum.profile, &sum.counts)),
            Some((_, fault)) => first = Some(fault),
        }
        if let Some(undo) = launch.undo.take() {
            undo.restore(&device.allocations);
        }
        launch.merged.take();
    }
    launch.in_order = true;
    let mut sum = Sum::new(program.code.len());
    for number in 0..clusters {
        let ran = exec::run_cluster(&launch, first_block(&launch, number, grid_of_clusters))?;
        if launch.checks.races {
            launch.merged.add(&ran.pages);
        }
        sum.ran(&ran);
    }
    // Only a race whose outcome changed with the order can have hidden itself.
    match first {
        Some(fault) => Err(fault),
        None => Ok(profile(kernel, sum.profile, &sum.counts)),
    }
}

fn parallel(launch: &Launch<'_>, clusters: u64, grid: [u32; 3]) -> Sum {
    let lowest = AtomicU64::new(u64::MAX);
    let places = launch.program.code.len();
    (0..clusters)
        .into_par_iter()
        .fold(
            || Sum::new(places),
            |mut sum, number| {
                if number > lowest.load(Relaxed) {
                    return sum;
                }
                let index = first_block(launch, number, grid);
                let failed = match exec::run_cluster(launch, index) {
                    Ok(ran) => {
                        sum.ran(&ran);
                        let conflict = launch.checks.races && launch.merged.add(&ran.pages);
                        conflict.then(|| {
                            let kind = FaultKind::BlockRace { access: AccessKind::Write };
                            let mut fault = Fault::launch(&launch.program.name, kind);
                            fault.block = index;
                            fault
                        })
                    }
                    Err(fault) => Some(fault),
                };
                if let Some(fault) = failed {
                    lowest.fetch_min(number, Relaxed);
                    sum.failed(number, fault);
                }
                sum
            },
        )
        .reduce(|| Sum::new(places), Sum::merge)
}

/// The first block of the n-th cluster.
fn first_block(launch: &Launch<'_>, number: u64, grid: [u32; 3]) -> [u32; 3] {
    let at = position(number, grid);
    std::array::from_fn(|axis| at[axis] * launch.cluster[axis])
}

/// The place of the n-th one in a grid: x runs fastest.
fn position(number: u64, [x, y, _]: [u32; 3]) -> [u32; 3] {
    let (x, y) = (u64::from(x), u64::from(y));
    [(number % x) as u32, (number / x % y) as u32, (number / x / y) as u32]
}

fn profile(kernel: &Kernel, mut profile: Profile, counts: &[u64]) -> Profile {
    for (inst, count) in kernel.program.code.iter().zip(counts) {
        if *count > 0 {
            *profile.instructions.entry(inst.class).or_default() += count;
            *profile.lines.entry(inst.line).or_default() += count;
        }
    }
    profile
}
