//! Models that can't be traced or lifted, and what is said about each.

use bytec_ir::dim::{Dim, Symbol};
use bytec_ir::types::SymbolRange;
use bytec_trace_candle::{Input, MadeUp, Options, graph, trace};
use candle_core::{DType, Device, IndexOp, Result, Tensor, bail};
use candle_nn::VarBuilder;

/// A model: its weights, the ids `[B, S]` and the mask `[B, S]`.
type Model = fn(&VarBuilder<'static>, &Tensor, &Tensor) -> Result<Tensor>;

fn rows(vars: &VarBuilder<'static>, ids: &Tensor) -> Result<Tensor> {
    let (batch, tokens) = ids.dims2()?;
    vars.get((50, 8), "words.weight")?
        .index_select(&ids.flatten_all()?, 0)?
        .reshape((batch, tokens, 8))
}

const CASES: &[(&str, Model, &[&str])] = &[
    ("value read by the host", host_read, &["to_vec1", "refused.rs", "depends on input ids"]),
    ("branch on a value", branch, &["to_scalar", "refused.rs", "depends on input ids"]),
    ("write in place", write_in_place, &["slice_set", "refused.rs"]),
    ("loop over the batch", batch_loop, &["depends on the sizes", "B=2", "B=3"]),
    ("loop over positions", position_loop, &["depends on the sizes", "S=5", "S=7"]),
    ("random numbers", random, &["depends on values", "a constant has other elements"]),
    ("an op without a counterpart", transposed_convolution, &["conv_transpose1d (1 times"]),
    ("two ops without a counterpart", pooled, &["avg_pool2d (1 times", "max_pool2d (1 times"]),
    ("half the positions", halved, &["no polynomial of the sizes", "S=5"]),
    ("a constant by the batch", by_batch, &["the batch, differ from each other"]),
    ("a constant of another kind", by_size, &["changes with the sizes", "not the first part"]),
    ("padding looked at", padding_seen, &["does not leave padding out", "mask"]),
    ("softmax over samples", softmax_over_samples, &["words", "normalises over the samples"]),
    ("mean over samples", mean_over_samples, &["words", "reduces over the samples"]),
    (
        "samples turned around",
        samples_turned,
        &["words", "takes some of the samples", "puts samples one after the other"],
    ),
    ("a weight that is not there", missing, &["can't build the model", "nowhere.weight"]),
];

fn host_read(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let first = ids.i((.., 0))?.to_vec1::<u32>()?;
    rows(vars, ids)? * f64::from(first[0])
}

fn branch(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let x = rows(vars, ids)?;
    if x.sum_all()?.to_scalar::<f32>()? > 0.0 { x.relu() } else { x.neg() }
}

fn write_in_place(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let x = rows(vars, ids)?;
    let held = x.zeros_like()?;
    held.slice_set(&x, 1, 0)?;
    Ok(held)
}

fn batch_loop(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let x = rows(vars, ids)?;
    let each = (0..x.dim(0)?).map(|i| x.get(i)?.relu()).collect::<Result<Vec<_>>>()?;
    Tensor::stack(&each, 0)
}

fn position_loop(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let x = rows(vars, ids)?;
    let mut sum = x.i((.., 0))?;
    for i in 1..x.dim(1)? {
        sum = (sum + x.i((.., i))?)?;
    }
    Ok(sum)
}

fn random(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let x = rows(vars, ids)?;
    let noise = x.rand_like(0.0, 1.0)?;
    x + noise
}

fn transposed_convolution(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let kernel = vars.get((8, 8, 3), "kernel.weight")?;
    rows(vars, ids)?.transpose(1, 2)?.conv_transpose1d(&kernel, 0, 0, 1, 1, 1)
}

fn pooled(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let x = rows(vars, ids)?.unsqueeze(1)?;
    x.avg_pool2d_with_stride((1, 2), (1, 2))? + x.max_pool2d_with_stride((1, 2), (1, 2))?
}

fn halved(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let x = rows(vars, ids)?;
    x.narrow(1, 0, x.dim(1)?.div_ceil(2) + x.dim(1)? / 4)
}

fn by_batch(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let x = rows(vars, ids)?;
    let batch = x.dim(0)?;
    let scale: Vec<f32> = (0..batch).map(|i| 1.0 + (i * i) as f32).collect();
    x.broadcast_mul(&Tensor::from_vec(scale, (batch, 1, 1), &Device::Cpu)?)
}

fn by_size(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let x = rows(vars, ids)?;
    let tokens = x.dim(1)?;
    let share: Vec<f32> = (0..tokens).map(|i| i as f32 / tokens as f32).collect();
    x.broadcast_mul(&Tensor::from_vec(share, (1, tokens, 1), &Device::Cpu)?)
}

fn padding_seen(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    rows(vars, ids)?.mean(1)
}

fn softmax_over_samples(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    candle_nn::ops::softmax(&rows(vars, ids)?.i((.., 0))?, 0)
}

fn mean_over_samples(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let first = rows(vars, ids)?.i((.., 0))?;
    let mean = first.mean_keepdim(0)?;
    first.broadcast_sub(&mean)
}

fn samples_turned(vars: &VarBuilder<'static>, ids: &Tensor, _: &Tensor) -> Result<Tensor> {
    let first = rows(vars, ids)?.i((.., 0))?;
    let other =
        Tensor::cat(&[&first.narrow(0, 1, first.dim(0)? - 1)?, &first.narrow(0, 0, 1)?], 0)?;
    first + other
}

fn missing(_: &VarBuilder<'static>, _: &Tensor, _: &Tensor) -> Result<Tensor> {
    bail!("this model is never built")
}

/// What is said about a model.
fn said(name: &str, model: Model) -> Option<String> {
    let inputs = vec![Input::ids("ids", 50), Input::mask("mask")];
    let options = Options::tokens(40, inputs, "out");
    let traced = trace(
        |vars| {
            if name == "a weight that is not there" {
                vars.get_unchecked("nowhere.weight")?;
            }
            Ok(move |x: &[Tensor]| Ok(vec![model(&vars, &x[0], &x[1])?]))
        },
        Box::new(MadeUp),
        &options,
    );
    match traced {
        Err(error) => Some(error.to_string()),
        Ok(traced) => graph(&traced, &options).err().map(|error| error.to_string()),
    }
}

#[test]
fn what_cannot_be_traced_is_refused_with_the_place_and_the_reason() {
    let mut wrong = Vec::new();
    for (name, model, parts) in CASES {
        let said = said(name, *model).unwrap_or_else(|| "nothing".to_owned());
        println!("{name}: {said}");
        if parts.iter().any(|part| !said.contains(part)) {
            wrong.push(format!("{name}: expected {parts:?}, found {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let no_mask = |x: &[Tensor]| Ok(vec![x[0].to_dtype(DType::F32)?]);
    let range = |min, max| vec![SymbolRange { symbol: Symbol::new("S"), min, max }];
    let input = || Input::ids("ids", 50);
    let bare = Input { shape: vec![Dim::symbol("S")], ..input() };
    let outputs = vec!["out".to_owned()];
    let cases = [
        (
            Options { symbols: range(1, 9), inputs: vec![], outputs: outputs.clone() },
            "at least one input",
        ),
        (
            Options {
                symbols: range(1, 9),
                inputs: vec![input(), input()],
                outputs: outputs.clone(),
            },
            "called ids",
        ),
        (
            Options { symbols: range(1, 9), inputs: vec![bare], outputs: outputs.clone() },
            "first axis",
        ),
        (
            Options { symbols: range(9, 1), inputs: vec![input()], outputs: outputs.clone() },
            "limits 9 to 1",
        ),
        (Options { symbols: vec![], inputs: vec![input()], outputs: outputs.clone() }, "S"),
        (
            Options {
                symbols: range(1, 9),
                inputs: vec![input()],
                outputs: [outputs.clone(), outputs].concat(),
            },
            "2 outputs",
        ),
    ];
    for (options, part) in cases {
        let said = trace(|_| Ok(no_mask), Box::new(MadeUp), &options)
            .expect_err("it does not fit")
            .to_string();
        assert!(said.contains(part), "expected {part:?}, found {said:?}");
    }
}
