//! Weights that are cut short, lie about themselves or don't fit, each with its own message.

use bytec_compiler::front::header;
use bytec_compiler::front::{self, FrontOptions};
use bytec_models::tiny::TinyBert;
use expect_test::expect;
use serde_json::{Value, json};

use crate::folder::{Folder, set};

/// A file with this header and as many zero bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data, 0);
    file
}

#[test]
fn every_broken_header_is_refused_for_its_reason() {
    let one = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    assert_eq!(header::parse(&file(one, 8)).unwrap().tensors.len(), 1);
    let mut lying = file(one, 8);
    lying[..8].copy_from_slice(&1000u64.to_le_bytes());
    let mut huge = file(one, 8);
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let two = |second: &str| {
        format!(r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},{second}}}"#)
    };
    let cases = [
        ("empty file", Vec::new()),
        ("seven bytes", vec![0; 7]),
        ("lying length", lying),
        ("huge length", huge),
        ("no header", file("", 0)),
        ("space first", file(" {}", 0)),
        ("half the header", file(&one[..30], 8)),
        ("not UTF-8", {
            let mut bytes = file(one, 8);
            bytes[10] = 0xff;
            bytes
        }),
        ("list", file("[]", 0)),
        ("duplicate", file(&two(r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#), 8)),
        ("duplicate metadata", file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0)),
        ("metadata of numbers", file(r#"{"__metadata__":{"a":1}}"#, 0)),
        (
            "duplicate field",
            file(r#"{"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}"#, 4),
        ),
        (
            "unknown field",
            file(r#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1}}"#, 4),
        ),
        ("missing field", file(r#"{"a":{"dtype":"F32","shape":[]}}"#, 4)),
        ("negative extent", file(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4)),
        ("unknown dtype", file(r#"{"a":{"dtype":"F12","shape":[],"data_offsets":[0,4]}}"#, 4)),
        (
            "overflowing shape",
            file(
                r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#,
                4,
            ),
        ),
        ("half a byte", file(r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}"#, 1)),
        (
            "shape against range",
            file(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8),
        ),
        ("range backwards", file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8)),
        ("overlap", file(&two(r#""b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#), 8)),
        ("same range", file(&two(r#""b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#), 8)),
        ("hole", file(&two(r#""b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}"#), 16)),
        ("hole at the start", file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8)),
        ("bytes after", file(one, 9)),
        ("truncated data", file(one, 7)),
        (
            "past the end",
            file(
                r#"{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#,
                8,
            ),
        ),
    ];
    let mut found = String::new();
    for (what, bytes) in &cases {
        found.push_str(&format!("{what}: {}\n", header::parse(bytes).unwrap_err()));
    }
    expect![[r#"
        empty file: not a safetensors file: expected at least 8 bytes, found 0
        seven bytes: not a safetensors file: expected at least 8 bytes, found 7
        lying length: cut short: the header takes 1000 bytes, found 62
        huge length: not a safetensors file: the header's length is given as 18446744073709551615 bytes, expected at most 100000000
        no header: the header is not valid: expected `{` as its first byte
        space first: the header is not valid: expected `{` as its first byte
        half the header: the header is not valid: tensor `a`: EOF while parsing a list at line 1 column 30
        not UTF-8: the header is not valid: invalid unicode code point at line 1 column 3
        list: the header is not valid: expected `{` as its first byte
        duplicate: tensor `a` is declared twice
        duplicate metadata: tensor `__metadata__` is declared twice
        metadata of numbers: the header is not valid: invalid type: integer `1`, expected a string at line 1 column 22
        duplicate field: the header is not valid: tensor `a`: duplicate field `dtype` at line 1 column 27
        unknown field: the header is not valid: tensor `a`: unknown field `x`, expected one of `dtype`, `shape`, `data_offsets` at line 1 column 55
        missing field: the header is not valid: tensor `a`: missing field `data_offsets` at line 1 column 31
        negative extent: the header is not valid: tensor `a`: invalid value: integer `-1`, expected u64 at line 1 column 31
        unknown dtype: tensor `a` has the unknown element type "F12"
        overflowing shape: tensor `a`: F32 [4294967296, 4294967296] is not a whole number of bytes below 2^64
        half a byte: tensor `a`: F4 [3] is not a whole number of bytes below 2^64
        shape against range: tensor `a`: F32 [3] takes 12 bytes, found the range 0..8
        range backwards: tensor `a`: F32 [2] takes 8 bytes, found the range 8..0
        overlap: tensor `b` begins at byte 4, inside `a`, which ends at 8
        same range: tensor `b` begins at byte 0, inside `a`, which ends at 8
        hole: bytes 8..12 of the data belong to no tensor
        hole at the start: bytes 0..4 of the data belong to no tensor
        bytes after: bytes 8..9 of the data belong to no tensor
        truncated data: cut short: the tensors take 8 bytes, found 7
        past the end: tensor `a`: U8 [18446744073709551615] is not a whole number of bytes below 2^64
    "#]].assert_eq(&found);
}

#[test]
fn whatever_the_format_library_refuses_is_refused() {
    let good = TinyBert { layers: 1, hidden: 4, heads: 2, ..TinyBert::default() }
        .checkpoint()
        .safetensors();
    assert!(safetensors::SafeTensors::deserialize(&good).is_ok());
    assert!(header::parse(&good).is_ok());
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let mut refused = 0;
    // Every byte of the header flipped in two ways, and the file cut at every one of its first bytes.
    for i in 0..header {
        for flip in [0x01, 0x80] {
            let mut bytes = good.clone();
            bytes[i] ^= flip;
            if safetensors::SafeTensors::deserialize(&bytes).is_err() {
                refused += 1;
                assert!(header::parse(&bytes).is_err(), "byte {i} flipped by {flip:#x}");
            }
        }
        assert!(header::parse(&good[..i]).is_err(), "cut at {i}");
    }
    assert!(refused > header, "{refused} of {} flips were refused", 2 * header);
}

#[test]
fn the_file_that_is_wrong_is_named() {
    let folder = Folder::of(&TinyBert::default().checkpoint());
    let whole = std::fs::read(folder.file("model.safetensors")).unwrap();
    folder.write("model.safetensors", &whole[..whole.len() - 4]);
    let message = folder.error(&FrontOptions::default());
    assert!(
        message.starts_with("DIR/model.safetensors: cut short: the tensors take "),
        "{message}"
    );
}

#[test]
fn sources_that_are_not_there_or_not_sources() {
    let folder = Folder::of(&TinyBert::default().checkpoint());
    let default = FrontOptions::default();
    let mut found = String::new();
    found.push_str(&format!("missing: {}\n", folder.error_at("nowhere", &default)));
    found.push_str(&format!("no source: {}\n", folder.error_at("config.json", &default)));
    folder.remove("config.json");
    found.push_str(&format!("no config: {}\n", folder.error(&default)));
    let none = FrontOptions { config: Some(folder.file("none.json")), ..FrontOptions::default() };
    found.push_str(&format!("config option: {}\n", folder.error(&none)));
    std::fs::rename(folder.file("model.safetensors"), folder.file("other.safetensors")).unwrap();
    found.push_str(&format!("other name: {}\n", folder.error(&default)));
    folder.remove("other.safetensors");
    found.push_str(&format!("empty: {}\n", folder.error(&default)));
    folder.write("pytorch_model.bin", "");
    found.push_str(&format!("pickle: {}\n", folder.error(&default)));
    std::fs::create_dir(folder.file("model.safetensors")).unwrap();
    found.push_str(&format!("folder as file: {}\n", folder.error(&default)));
    expect![[r#"
        missing: DIR/nowhere: can't be read: No such file or directory (os error 2)
        no source: DIR/config.json: not a source, expected a folder, a .safetensors file, a .safetensors.index.json file or a .pt2 archive
        no config: DIR: no config.json beside the weights and no `bytec.config` in the file's metadata; heads, activation and epsilon can't be told from tensors: pass --config FILE, or --graph FILE
        config option: DIR/none.json: can't be read: No such file or directory (os error 2)
        other name: DIR: no weights, expected model.safetensors or model.safetensors.index.json, found other.safetensors; pass the .safetensors file itself
        empty: DIR: no weights, expected model.safetensors or model.safetensors.index.json, found an empty folder; fetch the model's safetensors file into the folder
        pickle: DIR: no weights, expected model.safetensors or model.safetensors.index.json, found pytorch_model.bin; convert the weights to safetensors
        folder as file: DIR/model.safetensors: can't be read: is a directory
    "#]].assert_eq(&found);
}

#[test]
fn all_tensors_that_do_not_fit_are_reported_at_once() {
    let mut checkpoint = TinyBert::default().checkpoint();
    checkpoint.tensors.remove("embeddings.LayerNorm.weight");
    let query = checkpoint.tensors.get_mut("encoder.layer.1.attention.self.query.weight").unwrap();
    query.shape = vec![12, 48];
    expect![[r#"
        DIR/model.safetensors: 2 tensors don't fit the model
          tensor `embeddings.LayerNorm.weight` must be a float tensor [24], found nothing (nor under embeddings.LayerNorm.gamma)
          tensor `encoder.layer.1.attention.self.query.weight` must be a float tensor [24, 24], found F32 [12, 48]"#]].assert_eq(&Folder::of(&checkpoint).error(&FrontOptions::default()));

    let folder = Folder::of(&TinyBert::default().checkpoint());
    expect![[r#"
        DIR/model.safetensors: 37 tensors don't fit the model
          tensor `embeddings.word_embeddings.weight` must be a float tensor [50, 27], found F32 [50, 24]
          tensor `embeddings.token_type_embeddings.weight` must be a float tensor [2, 27], found F32 [2, 24]
          tensor `embeddings.position_embeddings.weight` must be a float tensor [32, 27], found F32 [32, 24]
          tensor `embeddings.LayerNorm.weight` must be a float tensor [27], found F32 [24]
          tensor `embeddings.LayerNorm.bias` must be a float tensor [27], found F32 [24]
          tensor `encoder.layer.0.attention.self.query.weight` must be a float tensor [27, 27], found F32 [24, 24]
          tensor `encoder.layer.0.attention.self.query.bias` must be a float tensor [27], found F32 [24]
          tensor `encoder.layer.0.attention.self.key.weight` must be a float tensor [27, 27], found F32 [24, 24]
          and 29 more"#]].assert_eq(&folder.error(&set(&[("hidden_size", "27")])));
}

#[test]
fn a_tensor_of_integers_is_no_weight() {
    let checkpoint = TinyBert::default().checkpoint();
    let folder = Folder::of(&checkpoint);
    let text = String::from_utf8_lossy(&checkpoint.safetensors()).into_owned();
    let length = u64::from_le_bytes(checkpoint.safetensors()[..8].try_into().unwrap()) as usize;
    let header = &text[8..8 + length];
    let mut fields: Value = serde_json::from_str(header.trim_end()).unwrap();
    fields["encoder.layer.0.output.dense.bias"]["dtype"] = json!("I32");
    let data = checkpoint.safetensors()[8 + length..].len();
    folder.write("model.safetensors", file(&fields.to_string(), data));
    expect![[r#"
        DIR/model.safetensors: 1 tensor doesn't fit the model
          tensor `encoder.layer.0.output.dense.bias` must be a float tensor [24], found I32 [24]"#]]
    .assert_eq(&folder.error(&FrontOptions::default()));
}

#[test]
fn two_models_in_one_file_are_refused() {
    let mut checkpoint = TinyBert::default().checkpoint();
    checkpoint
        .tensors
        .extend(TinyBert { prefix: true, ..TinyBert::default() }.checkpoint().tensors);
    expect!["DIR/model.safetensors: `embeddings.word_embeddings.weight` and `bert.embeddings.word_embeddings.weight` are both there, expected one model in one file; keep one of them"].assert_eq(&Folder::of(&checkpoint).error(&FrontOptions::default()));
}

#[test]
fn a_file_that_turns_into_noise_never_panics() {
    let folder = Folder::of(&TinyBert { layers: 1, ..TinyBert::default() }.checkpoint());
    let whole = std::fs::read(folder.file("model.safetensors")).unwrap();
    let mut random = bytec_models::tiny::SplitMix64(7);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            let at = random.below(4000.min(bytes.len() as u64)) as usize;
            bytes[at] = random.bits() as u8;
        }
        folder.write("model.safetensors", &bytes);
        if let Ok(loaded) = front::load(folder.path(), &FrontOptions::default()) {
            assert_eq!(loaded.family, "bert");
        }
    }
}

#[test]
fn another_prefix_is_refused_by_name() {
    let mut checkpoint = TinyBert::default().checkpoint();
    let tensors = std::mem::take(&mut checkpoint.tensors).into_iter();
    checkpoint.tensors = tensors.map(|(name, t)| (format!("roberta.{name}"), t)).collect();
    expect!["DIR/model.safetensors: found `roberta.embeddings.word_embeddings.weight`, expected `embeddings.word_embeddings.weight` with the prefix `bert.` or none; rename the tensors if this is such a model"].assert_eq(&Folder::of(&checkpoint).error(&FrontOptions::default()));
    checkpoint.tensors.clear();
    let message = Folder::of(&checkpoint).error(&FrontOptions::default());
    assert!(
        message.contains(
            "`embeddings.word_embeddings.weight` must be a float tensor [50, 24], found nothing"
        ),
        "{message}"
    );
}
