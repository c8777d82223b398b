//! What GPU kernels take, as a table.

use bytec_compiler::report::KernelReport;
use bytec_plan::device::{DeviceCode, FromRows};
use bytec_plan::program::Program;

/// A line of the table.
struct Row<'a> {
    symbol: &'a str,
    threads: u32,
    /// Registers, and bytes of static shared memory; `None` for PTX alone.
    assembled: Option<(u32, u32)>,
    dynamic_shared: u32,
    /// What else is to be said.
    rest: String,
}

/// What `bytec compile` says of the kernels that it compiled, one line each, program by program.
pub(crate) fn compiled(kernels: &[KernelReport]) -> Vec<String> {
    let mut lines = Vec::new();
    for program in kernels.chunk_by(|a, b| a.target == b.target) {
        let rows = program.iter().map(|kernel| Row {
            symbol: &kernel.symbol,
            threads: kernel.threads,
            assembled: kernel.resources.map(|r| (r.registers, r.static_shared)),
            dynamic_shared: kernel.dynamic_shared,
            rest: rest(kernel),
        });
        let target = program.first().map_or("", |kernel| &kernel.target);
        lines.extend(table(&format!("kernels for {target}"), rows));
        let noted =
            program.iter().filter_map(|kernel| Some((&kernel.symbol, kernel.note.as_ref()?)));
        lines.extend(noted.map(|(symbol, note)| format!("  {symbol}: {note}")));
    }
    lines
}

fn rest(kernel: &KernelReport) -> String {
    let mut rest = match kernel.resources {
        Some(resources) => format!("{:>7}", resources.spill_stores + resources.spill_loads),
        None => format!("{:>7}", "-"),
    };
    if !kernel.warnings.is_empty() {
        rest += &format!("  {} warnings, below", kernel.warnings.len());
    }
    rest
}

/// What `bytec inspect` says of the kernels of a program.
pub(crate) fn planned(program: &Program, code: &DeviceCode) -> Vec<String> {
    let most = |module: usize, of: fn(&bytec_plan::device::Launch) -> u32| {
        let launches = code.all_launches().map(|(_, launch)| launch);
        launches.filter(|launch| launch.module as usize == module).map(of).max().unwrap_or(0)
    };
    let rows = code.modules.iter().enumerate().map(|(i, module)| Row {
        symbol: &module.symbol,
        threads: most(i, |launch| launch.block),
        assembled: module.cubin.as_ref().map(|_| (module.registers, module.static_shared)),
        dynamic_shared: most(i, |launch| launch.shared),
        rest: String::new(),
    });
    let mut lines = table("kernels", rows);
    // Steps that are launched alike are told of in one line.
    let mut told: Vec<(u64, &str, &str, usize)> = Vec::new();
    for FromRows { step, rows, launch } in &code.by_rows {
        let symbol = match launch.has_blocks() {
            true => code.modules.get(launch.module as usize).map_or("", |module| &module.symbol),
            false => "in the launch of the step that reads it",
        };
        match told.iter_mut().find(|(from, same, ..)| (*from, *same) == (*rows, symbol)) {
            Some((.., more)) => *more += 1,
            None => {
                let step = program.steps.get(*step as usize).map_or("", |step| &step.name);
                told.push((*rows, symbol, step, 0));
            }
        }
    }
    for (rows, symbol, step, more) in told {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("  {step}{more} from {rows} rows on: {symbol}"));
    }
    lines
}

fn table<'a>(title: &str, rows: impl Iterator<Item = Row<'a>>) -> Vec<String> {
    let rows: Vec<_> = rows.collect();
    let width = rows.iter().map(|row| row.symbol.len() + 2).max().unwrap_or(0).max(title.len());
    let spilled = if rows.iter().any(|row| !row.rest.is_empty()) { " spilled" } else { "" };
    let mut lines = vec![format!("{title:width$}  threads  registers  shared bytes{spilled}")];
    for Row { symbol, threads, assembled, dynamic_shared, rest } in rows {
        let (registers, fixed) = match assembled {
            Some((registers, fixed)) => (registers.to_string(), fixed),
            None => ("-".to_owned(), 0),
        };
        // Dynamic and static shared memory are one to the device.
        let shared = u64::from(dynamic_shared) + u64::from(fixed);
        let line =
            format!("  {symbol:0$}  {threads:>7}  {registers:>9}  {shared:>12} {rest}", width - 2);
        lines.push(line.trim_end().to_owned());
    }
    lines
}
