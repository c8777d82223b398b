//! `bytec-sim` runs PTX on a plain CPU, and checks what a GPU would let pass.

mod decode;
mod device;
mod driver;
mod exec;
mod fault;
mod inst;
mod launch;
mod memory;
mod module;
mod num;
mod parse;
mod profile;

pub use device::{Arg, Buffer, Device, MemoryError};
pub use driver::{SimDriver, StepProfile};
pub use exec::Checks;
pub use fault::{AccessKind, Fault, FaultKind, Place};
pub use inst::Class;
pub use module::{Kernel, Module};
pub use parse::{Param, ParseError, ParseErrorKind};
pub use profile::{Profile, Traffic};
