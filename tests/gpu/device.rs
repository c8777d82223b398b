//! The GPU, or the simulated one in its place.

use std::sync::Arc;

use anyhow::{Result, bail};
use bytec_runtime::cuda::{Cuda, Driver};

use crate::pack::simulated;

/// What runs the plans for GPUs.
pub(crate) enum Device {
    /// The first GPU.
    Cuda(Arc<Cuda>),
    /// A simulated one, of the architecture that a target asks for.
    Sim,
}

impl Device {
    /// Opens the device of this name.
    pub(crate) fn open(name: &str) -> Result<Self> {
        match name {
            "cuda" => Ok(Self::Cuda(Arc::new(Cuda::open(0)?))),
            "sim" => Ok(Self::Sim),
            other => bail!("--device: expected cuda or sim, found {other}"),
        }
    }

    /// The driver for a target such as `sm_80:f16`.
    pub(crate) fn for_target(&self, target: &str) -> Result<Arc<dyn Driver>> {
        Ok(match self {
            Self::Cuda(cuda) => Arc::clone(cuda) as Arc<dyn Driver>,
            Self::Sim => Arc::new(simulated(target)?),
        })
    }

    /// The architecture that code is made for where it is made for this device alone.
    pub(crate) fn native(&self) -> &'static str {
        match self {
            Self::Cuda(cuda) if cuda.arch().major == 9 => "sm_90a",
            Self::Cuda(_) | Self::Sim => "sm_80",
        }
    }
}
