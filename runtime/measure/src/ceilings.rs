//! What a machine reaches at best, measured beside the runs that are held against it.

mod device;
mod processor;

pub use device::device_copy;
pub use processor::{fma, host_copy, product};

/// The rates of one machine. A rate that could not be measured is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ceilings {
    /// Bytes a second, read and written, of a copy too large for any cache.
    pub copy: Option<f64>,
    /// Multiplications and additions a second of a large product of matrices through bytec's own linear.
    pub product: Option<f64>,
    /// Those of a loop of fused multiply-adds on registers alone, or of products of bf16 or int8.
    pub fma: Option<f64>,
}

impl Ceilings {
    /// The least time in seconds in which this much work can be done; none if the rates that it takes are unknown.
    pub fn least_time(&self, products: f64, bytes: f64) -> Option<f64> {
        let products = if products > 0.0 { products / self.product? } else { 0.0 };
        Some(products.max(bytes / self.copy?))
    }
}
