//! What code is compiled for.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An architecture in NVRTC's spelling: `sm_80`, `sm_90a`, or `compute_80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arch {
    /// Compute capability, such as 80.
    capability: u32,
    /// `sm_`: machine code and PTX. `compute_`: PTX only.
    real: bool,
    /// The `a`: instructions of this capability alone, which no other device runs.
    specific: bool,
}

impl Arch {
    /// Ampere; 8.6 and 8.9 run it too.
    pub const SM_80: Self = Self { capability: 80, real: true, specific: false };
    /// Hopper with wgmma and TMA.
    pub const SM_90A: Self = Self { capability: 90, real: true, specific: true };
    /// PTX that the driver of any later device compiles.
    pub const COMPUTE_80: Self = Self { capability: 80, real: false, specific: false };

    /// Whether there is machine code beside the PTX.
    pub fn is_real(self) -> bool {
        self.real
    }

    /// The compute capability, such as 80.
    pub fn capability(self) -> u32 {
        self.capability
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.real { "sm" } else { "compute" };
        let specific = if self.specific { "a" } else { "" };
        write!(f, "{kind}_{}{specific}", self.capability)
    }
}

/// A text that names no architecture.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no architecture: expected one such as sm_80, sm_90a or compute_80, found {found:?}")]
pub struct ArchError {
    /// The text.
    pub found: String,
}

impl FromStr for Arch {
    type Err = ArchError;

    fn from_str(text: &str) -> Result<Self, ArchError> {
        let wrong = || ArchError { found: text.to_owned() };
        let (real, rest) = match (text.strip_prefix("sm_"), text.strip_prefix("compute_")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(wrong()),
        };
        let (digits, specific) = match rest.strip_suffix('a') {
            Some(digits) => (digits, true),
            None => (rest, false),
        };
        let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        let capability = digits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
        Ok(Self { capability, real, specific })
    }
}

#[cfg(test)]
mod tests {
    use super::Arch;

    #[test]
    fn names_read_back() {
        for name in ["sm_80", "sm_86", "sm_90a", "compute_80", "sm_120a"] {
            assert_eq!(name.parse::<Arch>().unwrap().to_string(), name);
        }
        for name in
            ["", "sm", "sm_", "sm_a", "sm_08", "sm_+8", "SM_80", "sm_80b", "80", "sm_99999999999"]
        {
            assert!(name.parse::<Arch>().is_err(), "{name}");
        }
    }
}
