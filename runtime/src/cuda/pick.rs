//! Which of a plan's programs a device runs.

use std::cmp::Reverse;

use bytec_plan::device::ModuleSpec;
use bytec_plan::program::Program;

use super::driver::Arch;

/// The program for an entry point that suits the device best: one made for its very architecture (`sm_90a` on
/// `sm_90`) before all others; else the newest that is no newer than the device, machine code before PTX alone.
///
/// Machine code runs on its own generation only. PTX is compiled by the driver, for later generations too, so a program
/// stripped of it has its own generation only.
pub(crate) fn pick(programs: &[Program], entry: &str, device: Arch) -> Option<usize> {
    let fit = |program: &Program| {
        let code = program.device.as_ref()?;
        let (arch, machine_code) = parse(&code.arch)?;
        let exact = (arch.major, arch.minor) == (device.major, device.minor);
        let older = !arch.only && (arch.major, arch.minor) <= (device.major, device.minor);
        let loads = |module: &ModuleSpec| {
            module.ptx.is_some() || (module.cubin.is_some() && arch.major == device.major)
        };
        let runs = program.entry == entry && (exact || older) && code.modules.iter().all(loads);
        runs.then_some((arch.only, arch, machine_code))
    };
    let fits = programs.iter().enumerate().filter_map(|(i, program)| Some((fit(program)?, i)));
    // Of equals the first.
    fits.max_by_key(|(fit, i)| (*fit, Reverse(*i))).map(|(_, i)| i)
}

/// Whether a device of this architecture runs a program.
pub fn runs(program: &Program, device: Arch) -> bool {
    pick(std::slice::from_ref(program), &program.entry, device).is_some()
}

/// The architecture of a program's code, and whether it has machine code.
fn parse(arch: &str) -> Option<(Arch, bool)> {
    match arch.strip_prefix("compute_") {
        Some(number) => Some((format!("sm_{number}").parse().ok()?, false)),
        None => Some((arch.parse().ok()?, true)),
    }
}
