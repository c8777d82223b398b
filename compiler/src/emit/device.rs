//! Compiled kernels into the plan's section of modules.

use bytec_plan::device::{DeviceCode, Image, ModuleSpec};
use bytec_plan::weights::WeightTable;

use crate::code::Code;
use crate::nvrtc::Compiled;

/// Places a program's images; equal ones that are there already are used again. `strip` leaves out the PTX of kernels
/// that have machine code.
pub(super) fn place(code: Code, strip: bool, table: &mut WeightTable<'_>) -> DeviceCode {
    let Code { arch, sources, compiled, launches, by_rows, notes: _ } = code;
    let modules = sources
        .into_iter()
        .zip(compiled)
        .map(|(source, compiled)| module(source.symbol, compiled, strip, table))
        .collect();
    DeviceCode { arch: arch.to_string(), modules, launches, by_rows }
}

/// A kernel with its images placed.
pub(crate) fn module(
    symbol: String,
    compiled: Compiled,
    strip: bool,
    table: &mut WeightTable<'_>,
) -> ModuleSpec {
    let ptx = !strip || compiled.cubin.is_none();
    let mut image = |bytes: Vec<u8>| {
        let place = table.add(bytes);
        Image { offset: place.offset, bytes: place.bytes, hash: place.hash }
    };
    ModuleSpec {
        symbol,
        registers: compiled.usage.map_or(0, |usage| usage.registers),
        static_shared: compiled.usage.map_or(0, |usage| usage.shared),
        cubin: compiled.cubin.map(&mut image),
        ptx: ptx.then(|| image(compiled.ptx.into_bytes())),
    }
}
