//! The `bytec` program: arguments in, the compiler and the runtime at work, reports out.

mod args;
mod batches;
mod bench;
mod compile;
mod devices;
mod doctor;
mod explain;
mod failure;
mod golden;
mod inspect;
mod int8;
mod layers;
mod lines;
mod list;
mod model;
mod outputs;
mod plan_file;
mod product;
mod profile;
mod progress;
mod resources;
mod run;
mod table;
mod targets;
mod tensors;
mod texts;
mod toolchain;
mod tune;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        Command::Compile(args) => compile::compile(args),
        Command::Run(args) => run::run(args),
        Command::Bench(args) => bench::bench(args),
        Command::Tune(args) => tune::tune(args),
        Command::Verify(args) => verify::verify(args),
        Command::Golden(args) => golden::golden(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Explain(args) => explain::explain(args),
        Command::List(args) => list::list(args),
        Command::Doctor(args) => doctor::doctor(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has had enough: not a failure worth a message.
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to do if the terminal itself is gone.
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            failure.exit_code()
        }
    }
}

/// What a subcommand comes to.
pub(crate) type Outcome = Result<(), Failure>;
