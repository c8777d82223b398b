//! What a program is compiled for: data, never a query of this machine.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A device and the element type of its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Any CPU that the runtime builds for, in f32.
    Cpu,
}

/// A target that can't be compiled for.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("target {0:?} is not one that this compiler generates code for: expected cpu or cpu:f32")]
pub struct TargetError(pub String);

impl Target {
    /// The device, as a program names it.
    pub fn device(self) -> &'static str {
        match self {
            Target::Cpu => "cpu",
        }
    }

    /// The element type of buffers.
    pub fn dtype(self) -> bytec_plan::program::DType {
        match self {
            Target::Cpu => bytec_plan::program::DType::F32,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device(), self.dtype().name())
    }
}

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text {
            "cpu" | "cpu:f32" => Ok(Target::Cpu),
            _ => Err(TargetError(text.to_owned())),
        }
    }
}
