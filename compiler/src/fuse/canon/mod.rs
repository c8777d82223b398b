//! Rules to one form: what a trace, another framework or a hand writes in several ways becomes the op that the models of
//! bytec-models are written in, so that the rules after these fire whatever the source.
//!
//! They go by what is computed, not by how it is spelt: a normalisation is recognised by its mean and its root, a named
//! function by its values. What is given by several of them is in `rows`.

pub(super) mod activation;
pub(super) mod head_norms;
pub(super) mod join_parts;
pub(super) mod l2_norm;
pub(super) mod layer_norm;
pub(super) mod leading_units;
pub(super) mod matmul_linear;
pub(super) mod mean;
pub(super) mod rms_norm;
mod rows;
pub(super) mod scaled_attention;
pub(super) mod select_before_transpose;
pub(super) mod sink_views;
pub(super) mod softmax;
pub(super) mod unit_axes;
