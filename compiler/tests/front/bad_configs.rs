//! Configs that are missing something, hold something else, or ask for what isn't built.

use bytec_compiler::front::FrontOptions;
use bytec_models::tiny::TinyBert;
use expect_test::expect;
use serde_json::{Value, json};

use crate::folder::{Folder, architecture, set};

/// The error when `field` of a good config is `value`; `None` takes the field out.
fn with(architecture: &'static str, field: &str, value: Option<Value>) -> String {
    let mut checkpoint = TinyBert { architecture, ..TinyBert::default() }.checkpoint();
    let fields = checkpoint.config.as_object_mut().unwrap();
    match value {
        Some(value) => fields.insert(field.to_owned(), value),
        None => fields.remove(field),
    };
    Folder::of(&checkpoint).error(&FrontOptions::default())
}

#[test]
fn every_field_that_cannot_be_inferred_is_required() {
    let mut found = String::new();
    let required = [
        "model_type",
        "architectures",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "type_vocab_size",
        "layer_norm_eps",
        "hidden_act",
    ];
    for field in required {
        found.push_str(&with("BertModel", field, None));
        found.push('\n');
    }
    expect![[r#"
        DIR/config.json: `model_type` must be a model family's name, found nothing; pass the model's own, such as --set model_type=bert
        DIR/config.json: `architectures` must be a list of one name, found nothing; pass --architecture BertModel
        DIR/config.json: `hidden_size` must be an integer from 1 to 65536, found nothing; pass the model's own, such as --set hidden_size=384
        DIR/config.json: `num_hidden_layers` must be an integer from 1 to 512, found nothing; pass the model's own, such as --set num_hidden_layers=6
        DIR/config.json: `num_attention_heads` must be an integer from 1 to 4096, found nothing; pass the model's own, such as --set num_attention_heads=12
        DIR/config.json: `intermediate_size` must be an integer from 1 to 1048576, found nothing; pass the model's own, such as --set intermediate_size=1536
        DIR/config.json: `vocab_size` must be an integer from 1 to 16777216, found nothing; pass the model's own, such as --set vocab_size=30522
        DIR/config.json: `max_position_embeddings` must be an integer from 1 to 1048576, found nothing; pass the model's own, such as --set max_position_embeddings=512
        DIR/config.json: `type_vocab_size` must be an integer from 1 to 65536, found nothing; pass the model's own, such as --set type_vocab_size=2
        DIR/config.json: `layer_norm_eps` must be a number above 0 and at most 0.1, found nothing; pass the model's own, such as --set layer_norm_eps=1e-12
        DIR/config.json: `hidden_act` must be one of gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish, tanh, quick_gelu, sigmoid, relu2, relu6, leaky_relu, mish, found nothing; pass the model's own, such as --set hidden_act=gelu
    "#]].assert_eq(&found);
}

#[test]
fn every_wrong_value_is_named() {
    let cases = [
        ("hidden_size", json!("24")),
        ("hidden_size", json!(24.5)),
        ("hidden_size", json!(-24)),
        ("hidden_size", json!(0)),
        ("num_hidden_layers", json!(1_000_000_000_000u64)),
        ("num_attention_heads", json!(5)),
        ("num_attention_heads", json!([3])),
        ("vocab_size", json!(18_446_744_073_709_551_615u64)),
        ("layer_norm_eps", json!(0.0)),
        ("layer_norm_eps", json!("1e-12")),
        ("layer_norm_eps", json!(2)),
        ("hidden_act", json!("gelu_10")),
        ("hidden_act", json!(1)),
        ("model_type", json!("gpt2")),
        ("model_type", json!(3)),
        ("architectures", json!([])),
        ("architectures", json!(["BertModel", "BertForMaskedLM"])),
        ("architectures", json!("BertModel")),
        ("architectures", json!(["BertLMHeadModel"])),
        ("position_embedding_type", json!("relative_key")),
        ("position_embedding_type", json!(0)),
        ("is_decoder", json!(true)),
        ("is_decoder", json!("no")),
        ("add_cross_attention", json!(true)),
        ("tie_word_embeddings", json!("yes")),
        ("auto_map", json!({"AutoModel": "modeling_other.OtherModel"})),
        ("pruned_heads", json!({"0": [1, 2]})),
        ("quantization_config", json!({"bits": 4})),
        ("norm_order", json!("pre")),
    ];
    let mut found = String::new();
    for (field, value) in cases {
        found.push_str(&with("BertModel", field, Some(value)));
        found.push('\n');
    }
    expect![[r#"
        DIR/config.json: `hidden_size` must be an integer from 1 to 65536, found "24"; pass the model's own, such as --set hidden_size=384
        DIR/config.json: `hidden_size` must be an integer from 1 to 65536, found 24.5; pass the model's own, such as --set hidden_size=384
        DIR/config.json: `hidden_size` must be an integer from 1 to 65536, found -24; pass the model's own, such as --set hidden_size=384
        DIR/config.json: `hidden_size` must be an integer from 1 to 65536, found 0; pass the model's own, such as --set hidden_size=384
        DIR/config.json: `num_hidden_layers` must be an integer from 1 to 512, found 1000000000000; pass the model's own, such as --set num_hidden_layers=6
        DIR/config.json: `num_attention_heads` must be a divisor of hidden_size (24), found 5; pass the model's own, such as --set num_attention_heads=12
        DIR/config.json: `num_attention_heads` must be an integer from 1 to 4096, found [3]; pass the model's own, such as --set num_attention_heads=12
        DIR/config.json: `vocab_size` must be an integer from 1 to 16777216, found 18446744073709551615; pass the model's own, such as --set vocab_size=30522
        DIR/config.json: `layer_norm_eps` must be a number above 0 and at most 0.1, found 0.0; pass the model's own, such as --set layer_norm_eps=1e-12
        DIR/config.json: `layer_norm_eps` must be a number above 0 and at most 0.1, found "1e-12"; pass the model's own, such as --set layer_norm_eps=1e-12
        DIR/config.json: `layer_norm_eps` must be a number above 0 and at most 0.1, found 2; pass the model's own, such as --set layer_norm_eps=1e-12
        DIR/config.json: `hidden_act` must be one of gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish, tanh, quick_gelu, sigmoid, relu2, relu6, leaky_relu, mish, found "gelu_10"; pass the model's own, such as --set hidden_act=gelu
        DIR/config.json: `hidden_act` must be one of gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish, tanh, quick_gelu, sigmoid, relu2, relu6, leaky_relu, mish, found 1; pass the model's own, such as --set hidden_act=gelu
        DIR/config.json: model_type "gpt2" is not known, expected one of bert, roberta, xlm-roberta, camembert, distilbert, albert, electra, mpnet, deberta, deberta-v2, t5, mt5, umt5, modernbert, nomic_bert, jina_bert, vit, deit, dinov2, dinov2_with_registers; if the model is one of these under another name, pass --set model_type=NAME
        DIR/config.json: `model_type` must be a model family's name, found 3; pass the model's own, such as --set model_type=bert
        DIR/config.json: `architectures` must be a list of one name, found []; pass --architecture BertModel
        DIR/config.json: `architectures` must be a list of one name, found ["BertModel","BertForMaskedLM"]; pass --architecture BertModel
        DIR/config.json: `architectures` must be a list of one name, found "BertModel"; pass --architecture BertModel
        DIR/config.json: architecture "BertLMHeadModel" is not known, expected one of BertModel, BertForSequenceClassification, BertForTokenClassification, BertForMaskedLM, BertForPreTraining, BertForNextSentencePrediction, BertForQuestionAnswering, BertForMultipleChoice; pass --architecture NAME
        DIR/config.json: `position_embedding_type` must be "absolute", found "relative_key"; other positions aren't built for this family
        DIR/config.json: `position_embedding_type` must be "absolute", found 0; other positions aren't built for this family
        DIR/config.json: `is_decoder` must be false, found true; decoders aren't built for this family
        DIR/config.json: `is_decoder` must be false, found "no"; decoders aren't built for this family
        DIR/config.json: `add_cross_attention` must be false, found true; decoders aren't built for this family
        DIR/config.json: `tie_word_embeddings` must be true or false, found "yes"; pass the model's own, such as --set tie_word_embeddings=true
        DIR/config.json: `auto_map` must be absent, found {"AutoModel":"modeling_other.OtherModel"}; the model brings its own code, which may differ from this family's; if it doesn't, pass --set auto_map=null
        DIR/config.json: `pruned_heads` must be empty, found {"0":[1,2]}; save the model with its remaining heads as a model of its own
        DIR/config.json: `quantization_config` must be absent, found {"bits":4}; quantised weights aren't read; save the model in F32, F16 or BF16
        DIR/config.json: `norm_order` must be absent, found "pre"; the family doesn't know it; if it doesn't change the forward pass, pass --set norm_order=null
    "#]].assert_eq(&found);
}

#[test]
fn class_names_have_to_fit_the_classifier() {
    let name = "BertForSequenceClassification";
    let mut found = String::new();
    for value in [
        json!({"0": "a", "1": "b"}),
        json!({"0": "a", "1": "b", "3": "c"}),
        json!({"0": "a", "1": "b", "2": 3}),
        json!(["a", "b", "c"]),
        json!({}),
    ] {
        found.push_str(&with(name, "id2label", Some(value)));
        found.push('\n');
    }
    let mut checkpoint = TinyBert { architecture: name, ..TinyBert::default() }.checkpoint();
    let fields = checkpoint.config.as_object_mut().unwrap();
    fields.remove("id2label");
    fields.insert("num_labels".to_owned(), json!(2));
    found.push_str(&Folder::of(&checkpoint).error(&FrontOptions::default()));
    found.push('\n');
    checkpoint.tensors.remove("classifier.weight");
    found.push_str(&Folder::of(&checkpoint).error(&FrontOptions::default()));
    expect![[r#"
        DIR/config.json: `id2label` gives 2 classes, but tensor `classifier.weight` has 3 rows; correct `id2label`
        DIR/config.json: `id2label` must be an object with the keys "0", "1", .. and a string for each, found {"0":"a","1":"b","3":"c"}; correct it in DIR/config.json
        DIR/config.json: `id2label` must be an object with the keys "0", "1", .. and a string for each, found {"0":"a","1":"b","2":3}; correct it in DIR/config.json
        DIR/config.json: `id2label` must be an object with the keys "0", "1", .. and a string for each, found ["a","b","c"]; correct it in DIR/config.json
        DIR/config.json: `id2label` must be an object with the keys "0", "1", .. and a string for each, found {}; correct it in DIR/config.json
        DIR/config.json: `num_labels` gives 2 classes, but tensor `classifier.weight` has 3 rows; correct `num_labels`
        DIR/model.safetensors: 2 tensors don't fit the model
          tensor `classifier.weight` must be a float tensor [2, 24], found nothing
          tensor `classifier.bias` must be a float tensor [2], found F32 [3]"#]].assert_eq(&found);
}

#[test]
fn a_config_that_is_not_an_object_is_refused() {
    let folder = Folder::of(&TinyBert::default().checkpoint());
    let mut found = String::new();
    for text in ["", "{", "[1]", "3", "\"a\"", "\u{feff}{}", "null"] {
        folder.write("config.json", text);
        found.push_str(&format!("{text:?}: {}\n", folder.error(&FrontOptions::default())));
    }
    folder.write("config.json", [0xff, 0xfe]);
    found.push_str(&folder.error(&FrontOptions::default()));
    expect![[r#"
        "": DIR/config.json: expected a JSON object, found EOF while parsing a value at line 1 column 0
        "{": DIR/config.json: expected a JSON object, found EOF while parsing an object at line 1 column 1
        "[1]": DIR/config.json: expected a JSON object, found a list
        "3": DIR/config.json: expected a JSON object, found a number
        "\"a\"": DIR/config.json: expected a JSON object, found a string
        "\u{feff}{}": DIR/config.json: expected a JSON object, found expected value at line 1 column 1
        "null": DIR/config.json: expected a JSON object, found null
        DIR/config.json: expected a JSON object, found expected value at line 1 column 1"#]].assert_eq(&found);
}

#[test]
fn an_option_supplies_what_the_config_lacks() {
    let mut checkpoint = TinyBert::default().checkpoint();
    let fields = checkpoint.config.as_object_mut().unwrap();
    for field in ["num_attention_heads", "hidden_act", "architectures"] {
        fields.remove(field);
    }
    let folder = Folder::of(&checkpoint);
    let mut options = set(&[("num_attention_heads", "3"), ("hidden_act", "gelu")]);
    options.architecture = Some("BertModel".to_owned());
    assert_eq!(folder.load(&options).unwrap().architecture, "BertModel");
    // What an option supplied is named as the option, not as the file.
    expect!["DIR/config.json: `hidden_act` must be one of gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish, tanh, quick_gelu, sigmoid, relu2, relu6, leaky_relu, mish, found nothing; pass the model's own, such as --set hidden_act=gelu"].assert_eq(&folder.error(&set(&[("num_attention_heads", "three")])));
}

#[test]
fn an_unknown_architecture_names_the_option_it_came_from() {
    let folder = Folder::of(&TinyBert::default().checkpoint());
    expect![[r#"--architecture: architecture "BertForEverything" is not known, expected one of BertModel, BertForSequenceClassification, BertForTokenClassification, BertForMaskedLM, BertForPreTraining, BertForNextSentencePrediction, BertForQuestionAnswering, BertForMultipleChoice; pass --architecture NAME"#]].assert_eq(&folder.error(&architecture("BertForEverything")));
}

#[test]
fn more_layers_than_the_file_holds_are_refused_quickly() {
    let folder = Folder::of(&TinyBert::default().checkpoint());
    let message = folder.error(&set(&[("num_hidden_layers", "512")]));
    assert!(message.contains("8160 tensors don't fit"), "{message}");
}
