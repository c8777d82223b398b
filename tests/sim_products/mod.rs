//! Linear layers, attention, what goes by a row's place and what puts columns side by side, on the simulated GPU, with all its checks, against f64.
//!
//! Kernels are rendered and compiled as for a plan, and launched as a plan's launches say. Samples are ragged; where a
//! test says so, other samples are NaN. Buffers have no room beyond their rows, so that a stray access is out of bounds.

mod attention;
mod concat;
mod device;
mod feed_forward;
mod fixtures;
mod linear;
mod linear_layer_norm;
mod numbers;
mod options;
mod places;

use bytec_compiler::cost::attention::Lengths;
use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::{Renderer, Site, Source};

/// Lengths around the sides of tiles.
const LENGTHS: [u32; 13] = [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129];

fn render(site: &Site<'_>) -> Source {
    render_for(Arch::SM_80, site)
}

fn render_for(arch: Arch, site: &Site<'_>) -> Source {
    render_for_lengths(arch, site, Lengths::default())
}

fn render_for_lengths(arch: Arch, site: &Site<'_>, lengths: Lengths) -> Source {
    let mut renderer = Renderer::for_arch(arch).unwrap();
    renderer.render_for(site, lengths).unwrap();
    renderer.into_sources().remove(0)
}
