//! sentence-transformers folders, in both forms, and the options that overrule them.

use std::collections::BTreeMap;

use bytec_compiler::front::{FrontOptions, Loaded, PoolingChoice};
use bytec_ir::attrs::PoolKind;
use bytec_ir::eval::{Rounding, Tensor, eval};
use bytec_plan::kernel::PoolKind as Planned;
use bytec_plan::manifest::{PoolingSource, PoolingSpec, PoolingStep};
use expect_test::expect;
use serde_json::{Value, json};

use crate::folder::{Folder, architecture};

fn old(on: &str) -> Value {
    let mut fields = json!({"word_embedding_dimension": 24});
    let modes = [
        "cls_token",
        "mean_tokens",
        "max_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
        "lasttoken",
    ];
    for mode in modes {
        fields[format!("pooling_mode_{mode}")] = json!(mode == on);
    }
    fields
}

fn choose(kind: PoolKind) -> FrontOptions {
    FrontOptions { pooling: Some(PoolingChoice::Kinds(vec![kind])), ..FrontOptions::default() }
}

fn unpooled() -> FrontOptions {
    FrontOptions { pooling: Some(PoolingChoice::None), ..FrontOptions::default() }
}

fn normalize(normalize: bool) -> FrontOptions {
    FrontOptions { normalize: Some(normalize), ..FrontOptions::default() }
}

fn run(loaded: &Loaded) -> BTreeMap<String, Tensor> {
    let ids = Tensor::ints(&[4], vec![1, 30, 8, 2]).unwrap();
    let inputs = BTreeMap::from([("input_ids".to_owned(), ids)]);
    eval(&loaded.graph, &inputs, &loaded.weights, Rounding::Exact).unwrap()
}

/// The embedding by hand from the rows.
fn embedding(rows: &Tensor, kinds: &[PoolKind], normalize: bool) -> Vec<f64> {
    let mut row: Vec<_> = kinds.iter().flat_map(|kind| pooled(rows, *kind)).collect();
    if normalize {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    row
}

fn pooled(rows: &Tensor, kind: PoolKind) -> Vec<f64> {
    let rows: Vec<&[f64]> = rows.as_floats().unwrap().chunks(24).collect();
    let column = |i: usize| rows.iter().map(move |row| row[i]);
    (0..24)
        .map(|i| match kind {
            PoolKind::Mean => column(i).sum::<f64>() / rows.len() as f64,
            PoolKind::Max => column(i).fold(f64::NEG_INFINITY, f64::max),
            PoolKind::Cls => rows[0][i],
            PoolKind::MeanSqrtLen => column(i).sum::<f64>() / (rows.len() as f64).sqrt(),
            PoolKind::WeightedMean => {
                let weighted = column(i).zip([1.0, 2.0, 3.0, 4.0]).map(|(x, weight)| weight * x);
                weighted.sum::<f64>() / 10.0
            }
            PoolKind::Last => rows[rows.len() - 1][i],
        })
        .collect()
}

fn check(loaded: &Loaded, kind: PoolKind, normalized: bool, from: PoolingSource) {
    check_all(loaded, &[kind], normalized, from);
}

fn check_all(loaded: &Loaded, kinds: &[PoolKind], normalized: bool, from: PoolingSource) {
    let planned = |kind: &PoolKind| match kind {
        PoolKind::Mean => Planned::Mean,
        PoolKind::Cls => Planned::Cls,
        PoolKind::Max => Planned::Max,
        PoolKind::MeanSqrtLen => Planned::MeanSqrtLen,
        PoolKind::WeightedMean => Planned::WeightedMean,
        PoolKind::Last => Planned::Last,
    };
    let kinds_planned = kinds.iter().map(planned).collect();
    let steps = if normalized { vec![PoolingStep::Normalize] } else { vec![] };
    assert_eq!(loaded.pooling, Some(PoolingSpec { kinds: kinds_planned, steps, from }));
    assert_eq!(loaded.architecture, "BertModel");
    let outputs = run(loaded);
    assert_eq!(outputs.keys().collect::<Vec<_>>(), ["embedding", "last_hidden_state"]);
    let expected = embedding(&outputs["last_hidden_state"], kinds, normalized);
    let found = outputs["embedding"].as_floats().unwrap();
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }
}

#[test]
fn both_forms_of_every_mode_are_read() {
    let modes = [
        ("mean", "mean_tokens", PoolKind::Mean),
        ("cls", "cls_token", PoolKind::Cls),
        ("max", "max_tokens", PoolKind::Max),
        ("mean_sqrt_len_tokens", "mean_sqrt_len_tokens", PoolKind::MeanSqrtLen),
        ("weightedmean", "weightedmean_tokens", PoolKind::WeightedMean),
        ("lasttoken", "lasttoken", PoolKind::Last),
    ];
    for (new, old_name, kind) in modes {
        let forms = [
            old(old_name),
            json!({"embedding_dimension": 24, "pooling_mode": new, "include_prompt": true}),
            json!({"embedding_dimension": 24, "pooling_mode": [new]}),
            json!({"pooling_mode": new, "pooling_mode_mean_tokens": new == "mean"}),
        ];
        for form in forms {
            let loaded = Folder::sentence(&form).load(&FrontOptions::default()).unwrap();
            check(&loaded, kind, true, PoolingSource::Folder);
        }
    }
}

/// The old form has one order, whatever that of its fields; the new form says its own.
#[test]
fn several_modes_are_put_side_by_side() {
    let mut all = old("");
    let names = all.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for name in names.iter().filter(|name| name.starts_with("pooling_mode_")) {
        all[name] = json!(true);
    }
    let order = [
        PoolKind::Cls,
        PoolKind::Max,
        PoolKind::Mean,
        PoolKind::MeanSqrtLen,
        PoolKind::WeightedMean,
        PoolKind::Last,
    ];
    let folder = Folder::sentence(&all);
    let loaded = folder.load(&FrontOptions::default()).unwrap();
    check_all(&loaded, &order, true, PoolingSource::Folder);
    let chosen = [PoolKind::Last, PoolKind::Cls];
    let options = FrontOptions {
        pooling: Some(PoolingChoice::Kinds(chosen.to_vec())),
        ..FrontOptions::default()
    };
    check_all(&folder.load(&options).unwrap(), &chosen, true, PoolingSource::Option);
    let mut both = old("cls_token");
    both["pooling_mode_mean_tokens"] = json!(true);
    both["pooling_mode"] = json!(["mean", "cls"]);
    for form in [both, json!({"pooling_mode": ["mean", "cls"]})] {
        let loaded = Folder::sentence(&form).load(&FrontOptions::default()).unwrap();
        let kinds = [PoolKind::Mean, PoolKind::Cls];
        check_all(&loaded, &kinds, true, PoolingSource::Folder);
    }
}

#[test]
fn new_module_names_are_read() {
    let folder = Folder::sentence(&old("mean_tokens"));
    folder.json(
        "modules.json",
        &json!([
            {"idx": 0, "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
            {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"},
        ]),
    );
    let loaded = folder.load(&FrontOptions::default()).unwrap();
    check(&loaded, PoolKind::Mean, false, PoolingSource::Folder);
}

#[test]
fn the_transformer_may_have_a_folder_of_its_own() {
    let whole = Folder::sentence(&old("mean_tokens"));
    let folder = Folder::empty();
    for name in ["config.json", "model.safetensors"] {
        folder.write(&format!("0_BERT/{name}"), std::fs::read(whole.file(name)).unwrap());
    }
    folder.json("1_Pooling/config.json", &old("mean_tokens"));
    folder.json(
        "modules.json",
        &json!([
            {"path": "0_BERT", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ]),
    );
    let loaded = folder.load(&FrontOptions::default()).unwrap();
    check(&loaded, PoolKind::Mean, false, PoolingSource::Folder);
}

#[test]
fn options_overrule_the_folder() {
    let folder = Folder::sentence(&old("mean_tokens"));
    let loaded = folder.load(&choose(PoolKind::Cls)).unwrap();
    check(&loaded, PoolKind::Cls, true, PoolingSource::Option);
    let loaded = folder.load(&normalize(false)).unwrap();
    check(&loaded, PoolKind::Mean, false, PoolingSource::Option);
    let loaded = folder.load(&unpooled()).unwrap();
    assert_eq!(loaded.pooling, None);
    assert_eq!(
        run(&loaded).into_keys().collect::<Vec<_>>(),
        ["last_hidden_state", "pooler_output"]
    );
}

#[test]
fn a_plain_folder_is_pooled_only_on_request() {
    let folder = Folder::sentence(&old("mean_tokens"));
    folder.remove("modules.json");
    assert_eq!(folder.load(&FrontOptions::default()).unwrap().pooling, None);
    let loaded = folder.load(&choose(PoolKind::Max)).unwrap();
    check(&loaded, PoolKind::Max, false, PoolingSource::Option);
    let both = FrontOptions { normalize: Some(true), ..choose(PoolKind::Max) };
    check(&folder.load(&both).unwrap(), PoolKind::Max, true, PoolingSource::Option);
}

#[test]
fn an_unknown_module_is_left_out_only_on_request() {
    let folder = Folder::sentence(&old("mean_tokens"));
    folder.modules(&["Transformer", "Pooling", "WordWeights", "Normalize"]);
    folder.load(&unpooled()).unwrap();
    expect![[r#"DIR/modules.json: module 2 is "sentence_transformers.models.WordWeights", expected Transformer, then Pooling, then Dense and Normalize if at all; to compile the encoder alone, pass --pooling none"#]]
        .assert_eq(&folder.error(&choose(PoolKind::Mean)));
}

#[test]
fn wrong_sentence_folders_are_refused_by_name() {
    let mut found = String::new();
    let mut refuse = |what: &str, folder: &Folder, options: &FrontOptions| {
        found.push_str(&format!("{what}: {}\n", folder.error(options)));
    };
    let default = FrontOptions::default();
    let pooling =
        |what: &str, fields: Value, refuse: &mut dyn FnMut(&str, &Folder, &FrontOptions)| {
            refuse(what, &Folder::sentence(&fields), &FrontOptions::default());
        };
    pooling("no mode", old(""), &mut refuse);
    pooling("old median", json!({"pooling_mode_median_tokens": true}), &mut refuse);
    pooling("new median", json!({"pooling_mode": "median"}), &mut refuse);
    pooling("none new", json!({"pooling_mode": []}), &mut refuse);
    pooling("one unknown", json!({"pooling_mode": ["cls", "median"]}), &mut refuse);
    pooling("mode is a number", json!({"pooling_mode": 1}), &mut refuse);
    pooling("bool is text", json!({"pooling_mode_cls_token": "true"}), &mut refuse);
    pooling(
        "forms disagree",
        json!({"pooling_mode": "cls", "pooling_mode_mean_tokens": true}),
        &mut refuse,
    );
    let mut two = old("cls_token");
    two["pooling_mode_mean_tokens"] = json!(true);
    two["pooling_mode"] = json!(["cls", "max"]);
    pooling("two disagree", two, &mut refuse);
    let mut wide = old("cls_token");
    wide["word_embedding_dimension"] = json!(25);
    pooling("old width", wide, &mut refuse);
    pooling("new width", json!({"pooling_mode": "cls", "embedding_dimension": "24"}), &mut refuse);
    pooling("not an object", json!([]), &mut refuse);

    let folder = Folder::sentence(&old("cls_token"));
    refuse("pooling and head", &folder, &architecture("BertForMaskedLM"));
    folder.remove("1_Pooling/config.json");
    refuse("no pooling config", &folder, &default);
    folder.modules(&["Transformer", "Dense"]);
    refuse("Dense", &folder, &default);
    folder.modules(&["Pooling", "Transformer"]);
    refuse("order", &folder, &default);
    folder.json("modules.json", &json!([{"path": "", "type": "my_code.Transformer"}]));
    refuse("own code", &folder, &default);
    folder.json(
        "modules.json",
        &json!([{"path": "../other", "type": "sentence_transformers.models.Transformer"}]),
    );
    refuse("outside", &folder, &default);
    folder.json("modules.json", &json!(["Transformer"]));
    refuse("no objects", &folder, &default);
    folder.json("modules.json", &json!([{"path": ""}]));
    refuse("no type", &folder, &default);
    folder.write("modules.json", "[{");
    refuse("no JSON", &folder, &default);
    folder.remove("modules.json");
    refuse("normalise what", &folder, &normalize(true));
    expect![[r#"
        no mode: DIR/1_Pooling/config.json: `pooling_mode` must be one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken, or given as pooling_mode_.. fields that are true, found nothing; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        old median: DIR/1_Pooling/config.json: `pooling_mode_median_tokens` must be false: only cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken are built, found true; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        new median: DIR/1_Pooling/config.json: `pooling_mode` must be one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken, found "median"; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        none new: DIR/1_Pooling/config.json: `pooling_mode` must be one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken, found []; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        one unknown: DIR/1_Pooling/config.json: `pooling_mode` must be one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken, found ["cls","median"]; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        mode is a number: DIR/1_Pooling/config.json: `pooling_mode` must be one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken, found 1; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        bool is text: DIR/1_Pooling/config.json: `pooling_mode_cls_token` must be true or false, found "true"; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        forms disagree: DIR/1_Pooling/config.json: `pooling_mode` must be mean, as the pooling_mode_.. fields say, found "cls"; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        two disagree: DIR/1_Pooling/config.json: `pooling_mode` must be cls and mean, as the pooling_mode_.. fields say, found ["cls","max"]; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        old width: DIR/1_Pooling/config.json: `word_embedding_dimension` must be the model's width, 24, found 25; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        new width: DIR/1_Pooling/config.json: `embedding_dimension` must be the model's width, 24, found "24"; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        not an object: DIR/1_Pooling/config.json: expected a JSON object, found a list
        pooling and head: --architecture BertForMaskedLM and a sentence embedding (cls pooling) exclude each other; pass --pooling none, or leave --architecture out
        no pooling config: DIR/1_Pooling/config.json: `pooling_mode` must be given in this file, which modules.json asks for, found no such file; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
        Dense: DIR/modules.json: module 1 is "sentence_transformers.models.Dense", expected Transformer, then Pooling, then Dense and Normalize if at all; to compile the encoder alone, pass --pooling none
        order: DIR/modules.json: module 0 is "sentence_transformers.models.Pooling", expected Transformer, then Pooling, then Dense and Normalize if at all; to compile the encoder alone, pass --pooling none
        own code: DIR/modules.json: module 0 is "my_code.Transformer", expected Transformer, then Pooling, then Dense and Normalize if at all; to compile the encoder alone, pass --pooling none
        outside: DIR/modules.json, module 0: `path` must be a folder inside this one, found "../other"; correct the file
        no objects: DIR/modules.json: expected a list of objects, found "Transformer" at position 0
        no type: DIR/modules.json, module 0: `type` must be the name of a module class, found nothing; correct the file
        no JSON: DIR/modules.json: expected a JSON list, found EOF while parsing an object at line 1 column 2
        normalise what: --normalize needs a sentence embedding, but nothing is pooled; pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none
    "#]].assert_eq(&found);
}
