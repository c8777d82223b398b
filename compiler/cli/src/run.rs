//! `bytec run`: texts or tensors through a plan, in packed batches.

use crate::args::RunArgs;
use crate::devices::{self, Device};
use crate::failure::Failure;
use crate::{Outcome, profile, tensors, texts};

pub(crate) fn run(args: &RunArgs) -> Outcome {
    if args.profile && !matches!(args.device, Device::Sim(_)) {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "--profile: expected --device sim, which counts what kernels do, found --device {}",
            args.device
        )));
    }
    let opened = devices::open(args.device, &args.plan, args.threads)?;
    match &args.source.inputs {
        Some(inputs) => tensors::run(args, &opened.engine, inputs)?,
        None => texts::run(args, &opened.engine)?,
    }
    match &opened.sim {
        Some(sim) if args.profile => profile::print(&sim.take_profiles()),
        _ => Ok(()),
    }
}
