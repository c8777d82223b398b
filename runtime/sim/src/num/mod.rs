//! Arithmetic of PTX's number formats, bit for bit where the ISA defines the bits.

pub(crate) mod approx;
pub(crate) mod f32ops;
pub(crate) mod half;
pub(crate) mod round;
