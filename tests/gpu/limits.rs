//! What GPUs can do at most, by their makers' datasheets, to hold measured rates against.

/// A GPU's rates.
pub(crate) struct Limits {
    /// A part of its name.
    name: &'static str,
    /// f16 and bf16 products with f32 sums on dense matrices, in units of 10^12 operations a second.
    pub(crate) half: f64,
}

/// The more special name first.
const LIMITS: [Limits; 9] = [
    Limits { name: "H100 PCIe", half: 756.0 },
    Limits { name: "H100 NVL", half: 835.0 },
    Limits { name: "H100", half: 989.0 },
    Limits { name: "H200", half: 989.0 },
    Limits { name: "A100-SXM4-40GB", half: 312.0 },
    Limits { name: "A100-PCIE-40GB", half: 312.0 },
    Limits { name: "A100", half: 312.0 },
    Limits { name: "A10", half: 125.0 },
    Limits { name: "L40S", half: 362.0 },
];

/// The rates of the GPU of this name, if they are known.
pub(crate) fn of(gpu: &str) -> Option<&'static Limits> {
    LIMITS.iter().find(|limits| gpu.contains(limits.name))
}
