//! Rendering, over every kernel.

use std::collections::BTreeSet;

use bytec_plan::kernel::Kernel;
use serde::Serialize;

use super::template::Templates;
use super::{Float, Matrix, Params, RenderError, Renderer, Site, layer_norm};

/// Fails unless the template's variables are the struct's fields, `symbol` and `element`.
fn same_names<P: Params + Serialize>(params: &P) {
    let value = serde_json::to_value(params).unwrap();
    let mut fields: BTreeSet<_> = value.as_object().unwrap().keys().cloned().collect();
    fields.extend(["symbol".to_owned(), "element".to_owned()]);
    assert_eq!(Templates::new().unwrap().variables(P::TEMPLATE), fields, "{}", P::TEMPLATE);
}

fn site<'a>(kernel: &'a Kernel, operands: &'a [Matrix], output: Matrix) -> Site<'a> {
    Site { kernel, dtype: Float::F16, operands, output }
}

#[test]
fn templates_use_exactly_the_fields_of_their_params() {
    let kernel = Kernel::LayerNorm { width: 8, eps: 1e-12, residual: true };
    let rows = [Matrix::dense(8); 4];
    same_names(&layer_norm::params(&site(&kernel, &rows, rows[0]), 8, 1e-12, true).unwrap());
}

#[test]
fn equal_steps_share_a_source_and_others_get_a_symbol_of_their_own() {
    let mut renderer = Renderer::new().unwrap();
    let kernel = |eps| Kernel::LayerNorm { width: 8, eps, residual: false };
    let dense = [Matrix::dense(8); 3];
    let wide = [Matrix { column: 0, stride: 24 }; 3];
    let first = renderer.render(&site(&kernel(1e-12), &dense, dense[0])).unwrap();
    let other = renderer.render(&site(&kernel(1e-5), &dense, dense[0])).unwrap();
    let strided = renderer.render(&site(&kernel(1e-12), &wide, dense[0])).unwrap();
    let again = renderer.render(&site(&kernel(1e-12), &dense, dense[0])).unwrap();
    assert_eq!((first, other, strided, again), (0, 1, 2, 0));
    let symbols: Vec<_> = renderer.sources().iter().map(|s| s.symbol.as_str()).collect();
    assert_eq!(symbols, ["layer_norm_8_f16", "layer_norm_8_f16_2", "layer_norm_8_f16_3"]);
}

#[test]
fn every_line_has_its_place() {
    let mut renderer = Renderer::new().unwrap();
    let kernel = Kernel::LayerNorm { width: 8, eps: 1e-12, residual: false };
    let dense = [Matrix::dense(8); 3];
    renderer.render(&site(&kernel, &dense, dense[0])).unwrap();
    for source in renderer.sources() {
        assert_eq!(source.text.lines().count(), source.places.len());
        for (line, place) in source.text.lines().zip(&source.places) {
            let files = bytec_templates::KERNELS.iter().chain(bytec_templates::LIBRARY);
            let file = files.clone().find(|file| file.name == place.file).unwrap();
            let written = file.text.lines().nth(place.line as usize - 1).unwrap();
            assert!(written == line || written.contains("<$"), "{place:?}: {line:?}, {written:?}");
        }
    }
}

#[test]
fn missing_operands_are_named() {
    let kernel = Kernel::LayerNorm { width: 8, eps: 1e-12, residual: true };
    let error =
        Renderer::new().unwrap().render(&site(&kernel, &[Matrix::dense(8)], Matrix::dense(8)));
    assert!(matches!(error, Err(RenderError::Operands { expected: 2, found: 1, .. })));
}
