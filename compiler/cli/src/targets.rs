//! What `--target` names: the compiler's targets, and the GPU of this machine.

use std::str::FromStr;

use bytec_compiler::Target;
use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::Float;
use bytec_runtime::cuda::{self, Cuda, Driver};

use crate::failure::Failure;

/// A target as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One that means the same on every machine.
    Of(Target),
    /// The first GPU of this machine, in this element type.
    Native(Float),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Element types are those of every GPU.
        let native =
            text.strip_prefix("native").and_then(|rest| format!("sm_80{rest}").parse().ok());
        if let Some(Target::Cuda { float, .. }) = native {
            return Ok(Wanted::Native(float));
        }
        let target: Result<Target, _> = text.parse();
        target.map(Wanted::Of).map_err(|error| format!("{error}; native is this machine's GPU"))
    }
}

/// The targets, with this machine's GPU looked up where it is asked for.
pub(crate) fn resolve(wanted: &[Wanted]) -> Result<Vec<Target>, Failure> {
    let resolve = |wanted: &Wanted| match *wanted {
        Wanted::Of(target) => Ok(target),
        Wanted::Native(float) => {
            let cuda = Cuda::open(0).map_err(|error| {
                let help = "name an architecture, such as sm_80, to compile without a GPU";
                Failure::machine(anyhow::Error::new(error).context(format!(
                    "--target native: expected a GPU in this machine, found none that can be used; {help}"
                )))
            })?;
            let arch = native(cuda.arch()).ok_or_else(|| {
                let found = format!("{} ({})", cuda.name(), cuda.arch());
                Failure::machine(anyhow::anyhow!(
                    "--target native: expected a GPU of the Ampere generation (sm_80) or later, found {found}"
                ))
            })?;
            Ok(Target::Cuda { arch, float })
        }
    };
    wanted.iter().map(resolve).collect()
}

/// What to compile for, so that a device runs it: machine code for its generation, or PTX for those that the compiler
/// does not know. `None` if it runs neither.
fn native(device: cuda::Arch) -> Option<Arch> {
    match (device.major, device.minor) {
        (8, _) => Some(Arch::SM_80),
        (9, 0) => Some(Arch::SM_90A),
        (9.., _) => Some(Arch::COMPUTE_80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytec_compiler::render::Float;

    use super::{Wanted, native};

    #[test]
    fn native_is_a_target_in_every_element_type_of_gpus() {
        let parse = |text: &str| text.parse::<Wanted>();
        assert_eq!(parse("native"), Ok(Wanted::Native(Float::F16)));
        assert_eq!(parse("native:bf16"), Ok(Wanted::Native(Float::Bf16)));
        assert_eq!(
            parse("sm_80:f32"),
            "sm_80:f32".parse().map(Wanted::Of).map_err(|_| String::new())
        );
        for wrong in ["native:f64", "native:", "nativef16", "native80", ""] {
            let error = parse(wrong).expect_err("it is no target");
            assert!(error.ends_with("; native is this machine's GPU"), "{error}");
        }
    }

    #[test]
    fn every_generation_gets_what_it_runs() {
        let of = |major, minor| {
            let device = bytec_runtime::cuda::Arch::of_device(major, minor);
            native(device).map(|arch| arch.to_string())
        };
        let expected = [
            ((7, 5), None),
            ((8, 0), Some("sm_80")),
            ((8, 9), Some("sm_80")),
            ((9, 0), Some("sm_90a")),
            ((10, 3), Some("compute_80")),
            ((12, 0), Some("compute_80")),
        ];
        for ((major, minor), target) in expected {
            assert_eq!(of(major, minor).as_deref(), target, "sm_{major}{minor}");
        }
    }
}
