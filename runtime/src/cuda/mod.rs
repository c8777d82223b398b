//! GPUs: a plan's device code behind a small [`Driver`] trait.
//!
//! What is here launches what a plan says and knows no kernel. The driver's library is one implementation of the
//! trait; an interpreter of the same code is another, and goes through the same memory, tables and launches.
//!
//! A run is one upload from staging memory, the launches, and a download of each output. The launches are made one by
//! one, or, with [`SessionOptions::graphs`](crate::SessionOptions::graphs), captured once for each size class and
//! replayed. Whatever a driver refuses ends all runs of the engine, since the device's memory may hold anything then;
//! only a lack of memory breaks nothing.

mod addresses;
mod code;
mod driver;
mod launches;
mod layout;
#[cfg(feature = "cuda")]
mod libcuda;
mod memory;
mod pick;
mod readback;
mod staging;
mod tables;
mod work;

pub(crate) use self::code::Code;
pub use self::driver::{
    Arch, Axes, Call, Driver, DriverError, Event, Function, Graph, KernelCode, Pointer, Stream,
    TensorMap,
};
#[cfg(feature = "cuda")]
pub use self::libcuda::Cuda;
pub(crate) use self::pick::pick;
pub use self::pick::runs;
pub use self::staging::Staging;
pub(crate) use self::work::DeviceWork;
pub use bytec_plan::device::Span;
