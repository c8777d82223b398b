//! `bytec run`: texts and tensors, in batches however they are cut.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use bytec_models::tiny::TinyBert;
use bytec_tests::{plans, tensors, tokenizer};
use serde_json::Value;

use super::{Place, lines, printed, said};

#[test]
fn texts_are_the_same_from_every_source() {
    let place = Place::new();
    let texts = ["The cat sat.", "", "a mat", "unheard cats"];
    let given = ["--text", texts[0], "--text", texts[1], "--text", texts[2], "--text", texts[3]];
    let output = place.good(&[&["run", "a.plan"], &given[..]].concat());
    assert_eq!(said(&output), "");
    let found = lines(&output);
    let tokens: Vec<_> = found.iter().map(|line| line["tokens"].as_u64()).collect();
    assert_eq!(tokens, [Some(6), Some(2), Some(4), Some(5)]);
    for (line, text) in found.iter().zip(texts) {
        assert_eq!((&line["text"], &line["cut"]), (&Value::from(text), &Value::from(0)));
        let values = line["embedding"].as_array().expect("a list of numbers");
        let squares = values.iter().filter_map(Value::as_f64).map(|x| x * x);
        assert_eq!(values.len(), 24);
        assert!((squares.sum::<f64>() - 1.0).abs() < 1e-5, "the norm is 1");
        assert!(line.get("last_hidden_state").is_none());
    }
    place.write("texts.txt", texts.join("\n").as_bytes());
    let file = place.good(&["run", "a.plan", "--text-file", "texts.txt"]);
    assert_eq!(printed(&file), printed(&output));
    // Lines as Windows ends them.
    place.write("texts.txt", format!("{}\r\n", texts.join("\r\n")).as_bytes());
    assert_eq!(
        printed(&place.good(&["run", "a.plan", "--text-file", "texts.txt"])),
        printed(&output)
    );
    let piped = place.shell("\"$0\" run a.plan --text-file - < texts.txt");
    assert_eq!(printed(&piped), printed(&output));
    let both = place.good(&["run", "a.plan", "--text", "first", "--text-file", "texts.txt"]);
    assert_eq!(lines(&both).len(), 5);
    assert_eq!(
        printed(&both).lines().skip(1).collect::<Vec<_>>(),
        printed(&output).lines().collect::<Vec<_>>()
    );
}

#[test]
fn texts_that_are_cut_are_counted() {
    let place = Place::new();
    let long = "cat ".repeat(40);
    let output = place.good(&["run", "a.plan", "--text", &long, "--text", "cat", "--text", &long]);
    let counts: Vec<_> =
        lines(&output).iter().map(|line| (line["tokens"].as_u64(), line["cut"].as_u64())).collect();
    assert_eq!(counts, [(Some(32), Some(10)), (Some(3), Some(0)), (Some(32), Some(10))]);
    let expected = "2 of 3 texts were cut to 32 tokens, 20 tokens dropped; --no-truncate refuses them instead\n";
    assert_eq!(said(&output), expected);
}

#[test]
fn heads_print_their_own_outputs() {
    let place = Place::new();
    let head = TinyBert { architecture: "BertForTokenClassification", ..TinyBert::default() };
    plans::write_folder(&head, &place.path("head")).expect("a model folder");
    place.write("head/tokenizer.json", &tokenizer::json());
    place.good(&["compile", "head", "-o", "b.plan"]);
    let line = &lines(&place.good(&["run", "b.plan", "--text", "the cats", "--raw"]))[0];
    let rows = line["logits"].as_array().expect("a row for each token");
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.as_array().is_some_and(|row| row.len() == 3)));
}

/// Samples `0` to `11`, of 1 to 12 tokens, with the second segment in some.
pub(super) fn write_samples(place: &Place) {
    let ids: Vec<Vec<u8>> = (1..=12i64)
        .map(|n| (0..n).flat_map(|i| ((i * 7 + n) % 50).to_le_bytes()).collect())
        .collect();
    let views = ids.iter().enumerate().flat_map(|(i, bytes)| {
        let view = |bytes| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::I64, vec![i + 1], bytes)
        };
        let ids = view(bytes).expect("the shape fits");
        [(format!("{i}.input_ids"), ids)]
    });
    place.write("in.safetensors", &safetensors::serialize(views, None).expect("a file of tensors"));
}

#[test]
fn every_way_to_cut_batches_gives_the_same_file() {
    let place = Place::new();
    write_samples(&place);
    let ways: [&[&str]; 5] = [
        &[],
        &["--alone"],
        &["--max-batch-tokens", "12"],
        &["--max-batch-tokens", "18446744073709551615", "--threads", "1"],
        &["--max-batch-tokens", "30", "--threads", "3"],
    ];
    let mut files = Vec::new();
    for way in ways {
        let output = place
            .good(&[&["run", "a.plan", "--inputs", "in.safetensors", "-o", "out"], way].concat());
        assert_eq!((printed(&output), said(&output)), (String::new(), String::new()));
        files.push(fs::read(place.path("out")).expect("the outputs are there"));
    }
    assert!(files.iter().all(|file| *file == files[0]));
    let outputs = tensors::read(&place.path("out")).expect("a file of samples");
    assert_eq!(outputs.keys().copied().collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
    for (sample, outputs) in outputs {
        let names: Vec<_> = outputs.keys().map(String::as_str).collect();
        assert_eq!(names, ["embedding", "last_hidden_state"]);
        let tensors::Tensor::F32(_, shape) = &outputs["last_hidden_state"] else {
            panic!("floats")
        };
        assert_eq!(*shape, [sample + 1, 24]);
    }
    place.write("texts.txt", "the cat\na mat. a mat.\n\ncats\n".as_bytes());
    let texts = |way: &[&str]| {
        printed(&place.good(&[&["run", "a.plan", "--text-file", "texts.txt"], way].concat()))
    };
    assert_eq!(texts(&["--alone"]), texts(&[]));
    assert_eq!(texts(&["--max-batch-tokens", "9"]), texts(&[]));
}

#[test]
fn results_that_are_not_finite_are_null() {
    let place = Place::new();
    let mut checkpoint = TinyBert::default().checkpoint();
    let row = checkpoint.tensors.get_mut("embeddings.word_embeddings.weight").expect("it is there");
    // The row of "cat".
    row.values[5 * 24] = f32::NAN;
    place.write("model/model.safetensors", &checkpoint.safetensors());
    place.good(&["compile", "model", "-o", "b.plan", "--pooling", "mean"]);
    let found = lines(&place.good(&["run", "b.plan", "--text", "cat", "--text", "mat"]));
    let nulls = |line: &Value| {
        line["embedding"].as_array().map(|x| x.iter().filter(|x| x.is_null()).count())
    };
    assert_eq!(found.iter().map(nulls).collect::<Vec<_>>(), [Some(24), Some(0)]);
}

/// Standard input may be read as it comes.
#[test]
fn texts_come_through_a_slow_pipe() {
    let place = Place::new();
    let mut command = place.command(&["run", "a.plan", "--text-file", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("its input is piped");
    for part in ["the c", "at\nthe ", "mat"] {
        stdin.write_all(part.as_bytes()).expect("it reads");
        stdin.flush().expect("it reads");
    }
    drop(stdin);
    let found = lines(&child.wait_with_output().expect("it ends"));
    let texts: Vec<_> = found.iter().map(|line| line["text"].as_str()).collect();
    assert_eq!(texts, [Some("the cat"), Some("the mat")]);
}
