//! Rendering, over every kernel.

use std::collections::BTreeSet;

use bytec_plan::attention::{Band, Bias, Pairs, Rotary};
use bytec_plan::kernel::{Broadcast, IdSource, Instr, Joined, Kernel, Part, PoolKind, UnaryFn, Up};
use serde::Serialize;

use super::template::Templates;
use super::{Float, Matrix, Params, RenderError, Renderer, Site};
use super::{
    Options, attention, attention_wgmma, concat, embed, feed_forward, join, l2_normalize,
    layer_norm, linear, linear_layer_norm, linear_wgmma, permute, pointwise, pool, rms_norm,
    rotary, softmax, unfold,
};
use crate::cost::attention::Lengths;

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
    // Parameters don't depend on the site's kernel but for its name.
    let kernel = Kernel::Softmax { width: 8 };
    let rows = [Matrix::dense(8); 4];
    let site = site(&kernel, &rows, rows[0]);
    let ids = [IdSource::Input, IdSource::Position { start: 2 }];
    same_names(&embed::params(&site, 8, &ids, Some(1e-12)).unwrap());
    let turns = Rotary { pairs: Pairs::Half, dims: 4 };
    let heads = || {
        let options =
            Options::new("attention", Float::F16, [1, 8], Band::default(), &Bias::None, None);
        attention::params(&site, [1, 8], 1, 1.0, options.unwrap()).unwrap()
    };
    same_names(&rms_norm::params(&site, 8, 1e-12).unwrap());
    same_names(&rotary::params(&site, 1, 8, turns).unwrap());
    let parts = [Part { columns: 4, weight: false }, Part { columns: 4, weight: true }];
    same_names(&concat::params(&site, 1, &parts).unwrap());
    same_names(&unfold::params(&site, 8, 1, 0).unwrap());
    let axes = [permute::Axis { extent: 8, stride: 1 }];
    same_names(&permute::params(&site, [1, 8], [1, 8], 0, &axes).unwrap());
    let parts = [Joined::Shared { rows: 1 }, Joined::Rows];
    same_names(&join::params(&site, 8, &parts).unwrap());
    same_names(&attention::Mma(heads()));
    same_names(&attention::Fma(heads()));
    same_names(&attention_wgmma::params(&site, &heads(), Lengths::default()).unwrap());
    same_names(&linear::params(&site, 8, 8, true, &[UnaryFn::Relu]).unwrap());
    let wide =
        Site { operands: &[Matrix::dense(64); 2], output: Matrix::dense(64), ..site.clone() };
    let on_warpgroups = linear_wgmma::params(&wide, 64, 64, true, &[UnaryFn::Relu]).unwrap();
    same_names(&on_warpgroups.unwrap());
    let wide = Site { operands: &[Matrix::dense(64); 6], ..wide };
    same_names(&linear_layer_norm::params(&wide, 64, 64, true, 1e-12, true).unwrap());
    let wide = Site { operands: &[Matrix::dense(64); 9], ..wide };
    let second = feed_forward::Second { n: 64, k: 64, bias: true, eps: 1e-12 };
    let up = Up { k: 64, bias: true, epilogue: vec![UnaryFn::GeluErf] };
    same_names(&feed_forward::params(&wide, second, &up).unwrap());
    same_names(&l2_normalize::params(&site, 8, 1e-12).unwrap());
    same_names(&layer_norm::params(&site, 8, 1e-12, true).unwrap());
    same_names(&pool::params(&site, 8, PoolKind::Mean, Some(1e-12)).unwrap());
    let chain = [Instr::Operand(0), Instr::Unary(UnaryFn::Exp, 0)];
    same_names(
        &pointwise::params(&site, 8, &[Broadcast::Sample, Broadcast::Place], &chain).unwrap(),
    );
    same_names(&softmax::params(&site, 8).unwrap());
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

#[test]
fn chains_that_name_later_values_are_refused() {
    let rows = [Matrix::dense(8)];
    let bodies = [
        vec![],
        vec![Instr::Operand(1)],
        vec![Instr::Unary(UnaryFn::Exp, 0)],
        vec![Instr::Const(0), Instr::Unary(UnaryFn::Exp, 7)],
    ];
    for body in bodies {
        let kernel = Kernel::Pointwise { width: 8, operands: vec![Broadcast::Full], body };
        let rendered = Renderer::new().unwrap().render(&site(&kernel, &rows, rows[0]));
        assert!(rendered.is_err(), "{kernel:?}");
    }
}
