//! The second front end: a graph in bytec's text form, from a file or from the metadata of the weights.

use std::path::Path;

use bytec_ir::dim::Dim;
use bytec_ir::graph::{Def, Graph};
use bytec_ir::types::DType;
use bytec_models::{Checkpoint, TensorProblem, TensorProblems, TextInputs};

use super::error::FrontError;
use super::json;
use super::weights::Weights;

/// The metadata key that may hold a graph.
pub const METADATA_KEY: &str = "bytec.graph";

/// The graph in `file`, else in the metadata of `weights`, if there is one.
pub(super) fn find(file: Option<&Path>, weights: &Weights) -> Result<Option<Graph>, FrontError> {
    let (name, text) = match (file, weights.metadata().get(METADATA_KEY)) {
        (Some(file), _) => {
            let name = file.display().to_string();
            let text = String::from_utf8(json::bytes(file)?).map_err(|e| FrontError::Graph {
                file: name.clone(),
                problem: format!("expected text in UTF-8, found {e}"),
            })?;
            (name, text)
        }
        (None, Some(text)) => {
            (format!("{}, metadata `{METADATA_KEY}`", weights.source()), text.clone())
        }
        (None, None) => return Ok(None),
    };
    let wrong = |problem: String| FrontError::Graph { file: name.clone(), problem };
    let graph = bytec_ir::text::parse(&text).map_err(|e| wrong(e.to_string()))?;
    bytec_ir::verify::verify(&graph).map_err(|e| wrong(e.to_string()))?;
    check_weights(&graph, &weights.checkpoint(), &wrong)?;
    Ok(Some(graph))
}

/// Checks that every weight is there, in a float type and with the declared shape.
fn check_weights(
    graph: &Graph,
    checkpoint: &Checkpoint,
    wrong: &dyn Fn(String) -> FrontError,
) -> Result<(), FrontError> {
    let mut problems = Vec::new();
    for id in graph.weights() {
        let (name, ty) = (graph.name(id), graph.ty(id));
        let shape: Option<Vec<u64>> = ty.shape.iter().map(Dim::as_fixed).collect();
        let (DType::F32, Some(expected)) = (ty.dtype, shape) else {
            return Err(wrong(format!(
                "weight `{name}` must be declared as f32 with a number for each extent, whatever the file stores; found {ty}"
            )));
        };
        let found = checkpoint.get(name);
        if !found.is_some_and(|info| info.is_weight() && info.shape == expected) {
            problems.push(TensorProblem {
                name: name.to_owned(),
                also: Vec::new(),
                expected,
                found: found.cloned(),
                help: None,
            });
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(TensorProblems { file: checkpoint.file().to_owned(), problems }.into())
}

/// The inputs that a tokenizer can feed: `input_ids`, and `token_type_ids` if the graph has it, i64 `[L]`.
pub(super) fn text_inputs(graph: &Graph) -> Option<TextInputs> {
    let rows = |name: &str| {
        let inputs = graph.inputs();
        let id = inputs.into_iter().find(|&id| graph.name(id) == name)?;
        let ty = graph.ty(id);
        let takes_rows = ty.dtype == DType::I64 && ty.rank() == 1;
        (takes_rows && matches!(graph.node(id).def, Def::Input { .. })).then_some(&ty.shape[0])
    };
    let (ids, type_ids) = ("input_ids", "token_type_ids");
    let extent = rows(ids)?;
    let range = graph.symbols().iter().find(|range| Dim::symbol(range.symbol.name()) == *extent)?;
    Some(TextInputs {
        ids: ids.to_owned(),
        type_ids: (rows(type_ids) == Some(extent)).then(|| type_ids.to_owned()),
        max_tokens: range.max,
        max_tokens_from: format!("the graph's limit on {}", range.symbol),
    })
}
