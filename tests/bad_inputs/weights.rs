//! Weights that are cut, lie, overlap or don't fit the model.

use serde_json::{Value, json};

use super::scene::{Scene, safetensors};
use super::{COMPILE, Row};

const FILE: &str = "model/model.safetensors";
const QUERY: &str = "encoder.layer.0.attention.self.query.weight";
const KEY: &str = "encoder.layer.0.attention.self.key.weight";
const WIDE: &str = "encoder.layer.1.intermediate.dense.weight";

/// Writes a header of this text, without data.
fn header_text(scene: &Scene, text: &str) {
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend(text.bytes());
    scene.write(FILE, file);
}

/// A row whose weights file is changed as bytes.
fn bytes(name: &str, edit: fn(&mut Vec<u8>), says: &[&str]) -> Row {
    Row::new(name, COMPILE)
        .broken(move |scene| scene.edit(FILE, edit))
        .fails(2, [&[FILE], says].concat())
}

/// A row in which one field of a tensor's entry is changed.
fn entry(
    name: &str,
    tensor: &'static str,
    field: &'static str,
    value: Value,
    says: &[&str],
) -> Row {
    Row::new(name, COMPILE)
        .broken(move |scene| scene.header(|header| header[tensor][field] = value.clone()))
        .fails(2, [&[FILE, tensor], says].concat())
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        bytes("empty weights", Vec::clear, &["at least 8 bytes", "found 0"]),
        bytes("weights of 5 bytes", |file| file.truncate(5), &["found 5"]),
        bytes("weights cut in the header", |file| file.truncate(99), &["cut short", "found 91"]),
        bytes(
            "weights cut in the data",
            |file| file.truncate(file.len() - 2),
            &["the tensors take"],
        ),
        bytes(
            "a header length past all bounds",
            |file| file[..8].copy_from_slice(&u64::MAX.to_le_bytes()),
            &["18446744073709551615 bytes"],
        ),
        bytes(
            "a header length past the file",
            |file| file[..8].copy_from_slice(&90_000_000u64.to_le_bytes()),
            &["the header takes 90000000 bytes"],
        ),
        bytes("bytes after the last tensor", |file| file.extend([0; 3]), &["belong to no tensor"]),
        bytes(
            "another format",
            |file| file[..8].copy_from_slice(b"\x80\x02\x8a\nl\xfc\x9cF"),
            &["not a safetensors file"],
        ),
        bytes("a header that is no JSON", |file| file[9] = b'!', &["header is not valid"]),
        entry(
            "overlapping tensors",
            KEY,
            "data_offsets",
            json!([0, 2304]),
            &["begins at byte 0, inside"],
        ),
        entry(
            "a range of another size",
            QUERY,
            "data_offsets",
            json!([0, 8]),
            &["takes 2304 bytes", "0..8"],
        ),
        entry("a negative offset", QUERY, "data_offsets", json!([-4, 8]), &["-4"]),
        entry("an unknown element type", QUERY, "dtype", json!("F31"), &["\"F31\""]),
        entry(
            "integers for weights",
            QUERY,
            "dtype",
            json!("I32"),
            &["float tensor [24, 24]", "I32"],
        ),
        entry("a shape past 64 bits", QUERY, "shape", json!([1u64 << 40, 1u64 << 40]), &["2^64"]),
        entry("a fractional extent", QUERY, "shape", json!([24.5, 24]), &["24.5"]),
        entry(
            "a transposed weight",
            WIDE,
            "shape",
            json!([24, 40]),
            &["[40, 24]", "found F32 [24, 40]"],
        ),
        entry("an unknown field", QUERY, "offset", json!(0), &["unknown field `offset`"]),
    ];
    let broken = |name: &str, breaks: fn(&Scene), says: &[&str]| {
        Row::new(name, COMPILE).broken(breaks).fails(2, says)
    };
    rows.extend([
        broken(
            "bytes between tensors",
            |scene| scene.header(|header| drop(header.remove(QUERY))),
            &[FILE, "belong to no tensor"],
        ),
        broken(
            "a missing tensor",
            |scene| {
                scene.header(|header| {
                    let entry = header.remove(QUERY).expect("it is there");
                    header.insert("encoder.layer.0.attention.self.q.weight".to_owned(), entry);
                });
            },
            &[FILE, QUERY, "found nothing"],
        ),
        broken(
            "a tensor that is there twice",
            |scene| {
                let entry = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
                header_text(scene, &format!(r#"{{"x":{entry},"x":{entry}}}"#));
            },
            &[FILE, "tensor `x` is declared twice"],
        ),
        broken(
            "a header that is a list",
            |scene| header_text(scene, "[1]"),
            &[FILE, "expected `{`"],
        ),
        broken(
            "a file without tensors",
            |scene| scene.write(FILE, safetensors(&serde_json::Map::new(), &[])),
            &[FILE, "tensors don't fit the model", "and 29 more"],
        ),
        broken(
            "two models in one file",
            |scene| {
                scene.header(|header| {
                    let entry = json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]});
                    header.insert("bert.embeddings.word_embeddings.weight".to_owned(), entry);
                });
            },
            &[FILE, "`bert.embeddings.word_embeddings.weight`", "one model in one file"],
        ),
        broken(
            "a folder with pickled weights only",
            |scene| {
                scene.remove(FILE);
                scene.write("model/pytorch_model.bin", "PK");
            },
            &["model: no weights", "pytorch_model.bin", "convert the weights to safetensors"],
        ),
        broken(
            "an index whose shard is missing",
            |scene| {
                scene.remove(FILE);
                let index = json!({"weight_map": {"a": "model-1-of-2.safetensors"}});
                scene.write("model/model.safetensors.index.json", index.to_string());
            },
            &["model.safetensors.index.json", "shard model-1-of-2.safetensors is missing"],
        ),
        broken(
            "an index that leads out of its folder",
            |scene| {
                scene.remove(FILE);
                let index = json!({"weight_map": {"a": "../in.safetensors"}});
                scene.write("model/model.safetensors.index.json", index.to_string());
            },
            &["model.safetensors.index.json", "tensor `a`", "../in.safetensors"],
        ),
        broken(
            "a folder in place of the weights",
            |scene| {
                scene.remove(FILE);
                scene.write("model/model.safetensors/a", "");
            },
            &[FILE, "is a directory"],
        ),
        Row::new("a source that isn't there", "compile nowhere -o out/new.plan")
            .fails(2, ["nowhere: can't be read"]),
        Row::new("a source of another kind", "compile model/config.json -o out/new.plan")
            .fails(2, ["model/config.json: not a source", ".safetensors"]),
    ]);
    rows
}
