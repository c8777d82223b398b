//! Plans that can't be tuned, and tables that are none.

use super::{COMPILE, Row};

/// A row with this table.
fn table(name: &str, text: &'static str, says: &[&str]) -> Row {
    Row::new(name, format!("{COMPILE} --tuned table.json"))
        .broken(move |scene| scene.write("table.json", text))
        .fails(2, [&["table.json: "], says].concat())
}

pub(super) fn rows() -> Vec<Row> {
    const TUNE: &str = "tune good.plan -o out/new.plan --device";
    vec![
        Row::new("a plan without programs for GPUs, tuned", format!("{TUNE} sim:sm_90a"))
            .fails(3, ["sm_90", "forward for cpu"]),
        Row::new("a plan tuned for the CPU", format!("{TUNE} cpu"))
            .fails(2, ["--device", "expected cuda", "found cpu"]),
        Row::new("a table of a dry run", format!("{TUNE} sim:sm_80 --table out/table.json"))
            .fails(2, ["--table", "sim:sm_80, which times nothing"]),
        Row::new("weights in place of a plan, tuned", "tune model/model.safetensors --device sim")
            .fails(2, ["model/model.safetensors: ", "which begins with"]),
        Row::new("a plan that isn't there, tuned", "tune another.plan --device sim:sm_90a")
            .fails(2, ["can't read another.plan"]),
        Row::new("a tuned plan in place of the plan", "tune good.plan --device sim -o ./good.plan")
            .fails(2, ["-o ./good.plan", "one that is read"]),
        Row::new("rows that descend", format!("{TUNE} sim --rows 9,3"))
            .fails(2, ["--rows", "[9, 3]"]),
        Row::new("no rows", format!("{TUNE} sim --rows 0")).fails(2, ["--rows", "'0'"]),
        Row::new("a plan of another format, tuned", format!("{TUNE} sim:sm_90a"))
            .broken(|scene| scene.edit("good.plan", |file| file[8] = 99))
            .fails(2, ["good.plan: "]),
        Row::new("a table that isn't there", format!("{COMPILE} --tuned other.json"))
            .fails(2, ["can't read other.json"]),
        table("a table that is no JSON", "tiles", &["expected a table as `bytec tune` writes it"]),
        table("a table of another format", "{\"format\": 7}", &["format 1, found 7"]),
        table("a table without devices", "{\"format\": 1}", &["missing field `devices`"]),
        Row::new("a plan in place of its table", "compile model -o table.json --tuned table.json")
            .broken(|scene| scene.write("table.json", "{\"format\": 1, \"devices\": []}"))
            .fails(2, ["-o table.json", "one that is read"]),
    ]
}
