//! What a program is compiled for: data, never a query of this machine.

use std::fmt;
use std::str::FromStr;

use bytec_plan::program::DType;
use thiserror::Error;

use crate::nvrtc::Arch;
use crate::render::Float;

/// A device and the element type of its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Any CPU that the runtime builds for, in f32.
    Cpu,
    /// The same with products in bf16: linears' weights are stored and what they multiply is rounded so; all else is f32.
    CpuBf16,
    /// The same with products in int8: linears' weights are stored with a scale for each output, and what they multiply is
    /// rounded with a step and a zero for each row; all else is f32, as are linears that [`crate::schedule`] leaves so.
    CpuInt8,
    /// NVIDIA GPUs of an architecture.
    Cuda {
        /// Which.
        arch: Arch,
        /// The element type of buffers and weights.
        float: Float,
    },
}

/// A target that can't be compiled for.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error(
    "target {0:?} is not one that this compiler generates code for: expected cpu, sm_80, sm_90a or compute_80, and after a \
     colon f32 (cpu's default), bf16, for cpu int8, or for a GPU f16 (its default)"
)]
pub struct TargetError(pub String);

impl Target {
    /// The device, as a program names it.
    pub fn device(self) -> String {
        match self {
            Target::Cpu | Target::CpuBf16 | Target::CpuInt8 => "cpu".to_owned(),
            Target::Cuda { arch, .. } => arch.to_string(),
        }
    }

    /// The element type of buffers, and of weights but those of a linear in bf16 or int8 on a CPU.
    pub fn dtype(self) -> DType {
        match self {
            Target::Cpu | Target::CpuBf16 | Target::CpuInt8 => DType::F32,
            Target::Cuda { float: Float::F32, .. } => DType::F32,
            Target::Cuda { float: Float::F16, .. } => DType::F16,
            Target::Cuda { float: Float::Bf16, .. } => DType::Bf16,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let products = match self {
            Target::CpuBf16 => DType::Bf16,
            Target::CpuInt8 => DType::I8,
            _ => self.dtype(),
        };
        write!(f, "{}:{}", self.device(), products.name())
    }
}

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let unknown = || TargetError(text.to_owned());
        let (device, float) = match text.split_once(':') {
            Some((device, float)) => (device, Some(float)),
            None => (text, None),
        };
        let arch = match device {
            "cpu" => match float {
                None | Some("f32") => return Ok(Target::Cpu),
                Some("bf16") => return Ok(Target::CpuBf16),
                Some("int8") => return Ok(Target::CpuInt8),
                Some(_) => return Err(unknown()),
            },
            "sm_80" => Arch::SM_80,
            "sm_90a" => Arch::SM_90A,
            "compute_80" => Arch::COMPUTE_80,
            _ => return Err(unknown()),
        };
        let float = match float {
            None | Some("f16") => Float::F16,
            Some("bf16") => Float::Bf16,
            Some("f32") => Float::F32,
            Some(_) => return Err(unknown()),
        };
        Ok(Target::Cuda { arch, float })
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn targets_have_names() {
        for name in
            ["cpu:f32", "cpu:bf16", "cpu:int8", "sm_80:f16", "sm_90a:bf16", "compute_80:f32"]
        {
            assert_eq!(
                name.parse::<Target>().map(|target| target.to_string()),
                Ok(name.to_owned())
            );
        }
        assert_eq!("cpu".parse(), Ok(Target::Cpu));
        for wrong in
            ["", "cpu:", "cpu:f16", "cpu:i8", "cpu:int4", "sm_80:int8", "int8", "cpu:int8:int8"]
        {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
