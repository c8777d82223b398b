//! Archives of torch.export, taken apart and put together again.

use std::ops::Range;

use bytec_compiler::front::pt2::zip;
use serde_json::{Value, json};

/// The members of an archive, in order.
#[derive(Clone, Debug)]
pub struct Members(pub Vec<(String, Vec<u8>)>);

/// The name of the program's member.
pub const PROGRAM: &str = "model/models/model.json";

impl Members {
    /// Those of a case of `golden_data/pt2`.
    ///
    /// # Panics
    /// If there is no such case.
    pub fn of_case(case: &str) -> Self {
        let path = crate::root().join("tests/golden_data/pt2").join(case).join("model.pt2");
        let file = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let members = zip::parse(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut places: Vec<(&String, &Range<usize>)> = members.ranges.iter().collect();
        places.sort_by_key(|(_, range)| range.start);
        let of = |(name, range): (&String, &Range<usize>)| {
            let inner = name.split_once('/').map_or(name.as_str(), |(_, inner)| inner);
            (format!("model/{inner}"), file[range.clone()].to_vec())
        };
        Self(places.into_iter().map(of).collect())
    }

    /// An archive without tensors around this program.
    pub fn of_program(program: &Value) -> Self {
        let empty = json!({"config": {}}).to_string();
        let members = [
            ("data/weights/model_weights_config.json", empty.clone()),
            ("data/constants/model_constants_config.json", empty),
            ("models/model.json", program.to_string()),
            ("archive_format", "pt2".to_owned()),
            ("byteorder", "little".to_owned()),
        ];
        Self(members.map(|(name, text)| (format!("model/{name}"), text.into_bytes())).to_vec())
    }

    /// A member's bytes.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn get(&mut self, name: &str) -> &mut Vec<u8> {
        let found = self.0.iter_mut().find(|member| member.0 == name);
        &mut found.unwrap_or_else(|| panic!("no member {name}")).1
    }

    /// Changes a member that is JSON.
    ///
    /// # Panics
    /// If it isn't.
    pub fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Value)) {
        let bytes = self.get(name);
        let mut value = serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        edit(&mut value);
        *bytes = value.to_string().into_bytes();
    }

    /// The zip file.
    pub fn to_file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut directory = Vec::new();
        for (name, data) in &self.0 {
            let offset = file.len() as u32;
            let mut entry = Vec::new();
            // Version, flags, method, time and date.
            entry.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            entry.extend(zip::checksum(data).to_le_bytes());
            entry.extend((data.len() as u32).to_le_bytes());
            entry.extend((data.len() as u32).to_le_bytes());
            entry.extend((name.len() as u16).to_le_bytes());
            entry.extend([0, 0]);
            file.extend(*b"PK\x03\x04");
            file.extend(&entry);
            file.extend(name.bytes());
            file.extend(data);
            directory.extend(*b"PK\x01\x02\x14\x00");
            directory.extend(entry);
            // Comment, disk and attributes.
            directory.extend([0; 10]);
            directory.extend(offset.to_le_bytes());
            directory.extend(name.bytes());
        }
        let (offset, size, count) =
            (file.len() as u32, directory.len() as u32, self.0.len() as u16);
        file.extend(directory);
        file.extend(*b"PK\x05\x06\0\0\0\0");
        file.extend(count.to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(size.to_le_bytes());
        file.extend(offset.to_le_bytes());
        file.extend([0, 0]);
        file
    }
}
