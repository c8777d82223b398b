//! Graph to graph: rules that make a model's plain ops into the ops that have a kernel of their own.
//!
//! [`RULES`] is the whole pass: [`run`] applies each rule wherever it fits once those before it have nothing left to do,
//! until nothing changes. Then [`pack`](pack()) lifts the graph of one sample over a batch.
//!
//! # Rules for writing rules
//!
//! - **One file, one rule.** Its doc shows a graph before and after in the text form; a test runs it. Add the rule to
//!   [`RULES`], at the place in the order where its canonical form exists and nothing has eaten it yet.
//! - **Directional.** A rule moves the graph toward fewer, larger ops. No rule undoes another, so the list comes to rest.
//! - **Never to more memory traffic.** A value that something else needs as well is not fused away: it would be computed
//!   twice, or be written all the same.
//! - **Match the canonical form.** Where a model can say the same thing in several ways, let an earlier rule bring them to
//!   one form and match that one.
//! - **Guard before build.** Look at everything first, build last: a [`Change`] is only made once nothing can go wrong.
//! - **Say why not.** [`Outcome::NoMatch`] is for graphs that have nothing to do with the rule. When the pattern is there
//!   and a guard fails, answer [`Outcome::Refused`] with the value and the reason, for the person who asks why their model
//!   is slow.
//! - **Keep names.** A new value takes the name of the one it replaces, so that reports and stage dumps still speak of the
//!   model.

mod add_layer_norm;
mod canon;
mod common_subexpressions;
mod dead_code;
pub mod driver;
mod embed_layer_norm;
mod fold_constants;
mod fold_rotary;
mod linear_activation;
mod linear_bias;
mod linear_scale;
mod merge_gates;
mod merge_linears;
pub mod origins;
pub mod pack;
mod packed_attention;
mod pattern;
mod pointwise_chain;
mod pool;
mod pool_normalize;
mod rewrite;
#[cfg(test)]
mod tests;

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::patch::Change;

pub use driver::{FuseError, Fused, run, run_followed};
pub use origins::Origins;
pub use pack::{PackError, Packed, Placement, pack};

/// One way to make a graph better at one node.
pub trait Rule: Sync {
    /// Its name: that of its file.
    fn name(&self) -> &'static str;

    /// What it does, in one line.
    fn summary(&self) -> &'static str;

    /// What it makes of the node `at`, the last node of its pattern unless its doc says otherwise.
    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome;
}

/// A rule's answer at one node.
#[derive(Debug)]
pub enum Outcome {
    /// The graph gets better by this change.
    Applied(Change),
    /// The node is nothing that the rule looks for.
    NoMatch,
    /// The node is what the rule looks for, but this stands against it.
    Refused(String),
}

/// A change that could not be built is a refusal: the graph stays as it is, and the report says what did not fit.
impl From<Result<Change, InferError>> for Outcome {
    fn from(built: Result<Change, InferError>) -> Self {
        match built {
            Ok(change) => Outcome::Applied(change),
            Err(error) => Outcome::Refused(format!("the fused op would not fit: {error}")),
        }
    }
}

/// All rules, in the order in which they are applied.
pub static RULES: &[&dyn Rule] = &[
    // Canonical form: what no output needs is gone, what is known now is computed, what is equal is one value.
    &dead_code::DeadCode,
    &fold_constants::FoldConstants,
    &common_subexpressions::CommonSubexpressions,
    // Attention, before views of a single head lose their axes of 1.
    &canon::softmax::Softmax,
    &packed_attention::PackedAttention,
    // One form for what sources write in several ways: views out of the way first, then ops that were written out.
    &canon::join_parts::JoinParts,
    &canon::unit_axes::UnitAxes,
    &canon::leading_units::LeadingUnits,
    &canon::select_before_transpose::SelectBeforeTranspose,
    &canon::sink_views::SinkViews,
    &canon::matmul_linear::MatmulLinear,
    &canon::mean::Mean,
    &canon::layer_norm::LayerNorm,
    &canon::rms_norm::RmsNorm,
    &canon::l2_norm::L2Norm,
    &canon::activation::Activation,
    // Norms of heads, whichever way they were written.
    &canon::head_norms::HeadNorms,
    // Linear layers take their bias and their scale first: the rules that follow look for whole layers.
    &linear_bias::LinearBias,
    &linear_scale::LinearScale,
    // Attention needs the separate q, k and v that the merging of linears turns into slices.
    &canon::scaled_attention::ScaledAttention,
    &fold_rotary::FoldRotary,
    &merge_linears::MergeLinears,
    &merge_gates::MergeGates,
    // What follows a linear goes into its epilogue.
    &linear_activation::LinearActivation,
    // Normalisation takes in the sum before it: embeddings first, since a sum of embeddings is also a residual sum.
    &embed_layer_norm::EmbedLayerNorm,
    &add_layer_norm::AddLayerNorm,
    // Heads of sentence embeddings.
    &pool::Pool,
    &pool_normalize::PoolNormalize,
    // Last, whatever is left element by element.
    &pointwise_chain::PointwiseChain,
];
