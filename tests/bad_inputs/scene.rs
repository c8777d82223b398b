//! A folder in which everything is good, until a row breaks one thing.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use bytec_compiler::Options;
use bytec_models::tiny::TinyBert;
use bytec_tests::plans::{compile, write_folder};
use bytec_tests::tokenizer;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// `model/` with weights, config and tokenizer; `good.plan`, compiled from it; `in.safetensors` with three samples; an
/// empty `out/`.
pub(super) struct Scene {
    folder: TempDir,
}

/// The bytes of a safetensors file.
pub(super) fn safetensors(header: &Map<String, Value>, data: &[u8]) -> Vec<u8> {
    let text = Value::Object(header.clone()).to_string();
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend(text.bytes());
    file.extend(data);
    file
}

/// A safetensors file of these tensors: key, element type, shape, elements.
pub(super) fn tensors(tensors: &[(&str, &str, &[u64], &[i64])]) -> Vec<u8> {
    let mut header = Map::new();
    let mut data = Vec::new();
    for (key, dtype, shape, elements) in tensors {
        let begin = data.len();
        for &element in *elements {
            match *dtype {
                "I64" => data.extend(element.to_le_bytes()),
                "I32" => data.extend((element as i32).to_le_bytes()),
                "F32" => data.extend((element as f32).to_le_bytes()),
                _ => data.push(element as u8),
            }
        }
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()]});
        header.insert((*key).to_owned(), entry);
    }
    safetensors(&header, &data)
}

impl Scene {
    pub(super) fn new() -> Self {
        static PLAN: OnceLock<Vec<u8>> = OnceLock::new();
        let scene = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        write_folder(&TinyBert::default(), &scene.root().join("model")).expect("a model folder");
        scene.write("model/tokenizer.json", tokenizer::json());
        let plan = PLAN.get_or_init(|| {
            let plan = scene.root().join("good.plan");
            compile(&scene.root().join("model"), &Options::default(), &plan).expect("it compiles");
            fs::read(plan).expect("the plan was written")
        });
        scene.write("good.plan", plan);
        scene.write(
            "in.safetensors",
            tensors(&[
                ("0.input_ids", "I64", &[3], &[2, 5, 3]),
                ("1.input_ids", "I64", &[4], &[2, 4, 5, 3]),
                ("1.token_type_ids", "I64", &[4], &[0, 0, 1, 1]),
                ("2.input_ids", "I32", &[1], &[7]),
            ]),
        );
        fs::create_dir(scene.root().join("out")).expect("a new folder");
        scene
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.root().join(name)).expect("the scene's file can be read")
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(path, bytes).expect("the scene can be written");
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.root().join(name)).expect("the scene's file can be removed");
    }

    /// Changes a file's bytes.
    pub(super) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.read(name);
        edit(&mut bytes);
        self.write(name, bytes);
    }

    /// Changes the fields of `model/config.json`.
    pub(super) fn config(&self, edit: impl FnOnce(&mut Map<String, Value>)) {
        let name = "model/config.json";
        let mut fields: Map<String, Value> =
            serde_json::from_slice(&self.read(name)).expect("the config is JSON");
        edit(&mut fields);
        self.write(name, Value::Object(fields).to_string());
    }

    /// Changes the header of `model/model.safetensors`; the data stays as it is.
    pub(super) fn header(&self, edit: impl FnOnce(&mut Map<String, Value>)) {
        let name = "model/model.safetensors";
        let file = self.read(name);
        let length = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
        let (header, data) = file[8..].split_at(length);
        let mut header = serde_json::from_slice(header).expect("the header is JSON");
        edit(&mut header);
        self.write(name, safetensors(&header, data));
    }
}
