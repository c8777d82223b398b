//! Plans that are cut, changed, of another format, or for another machine.

use bytec_plan::program::Program;
use bytec_plan::reader::PlanIndex;
use bytec_plan::weights::WeightTable;
use bytec_plan::writer::{Contents, write};

use super::Row;
use super::scene::Scene;

const TEXT: &str = "run good.plan --text a";

/// A row whose plan is changed as bytes.
fn bytes(name: &str, edit: impl Fn(&mut Vec<u8>) + 'static, says: &[&str]) -> Row {
    Row::new(name, TEXT)
        .broken(move |scene| scene.edit("good.plan", &edit))
        .fails(2, [&["`good.plan`"], says].concat())
}

/// A row in which a byte of this section is flipped.
fn flipped(section: &'static str) -> Row {
    let flip = move |file: &mut Vec<u8>| {
        let index = PlanIndex::read(file).expect("the plan is good");
        let section = index.sections.iter().find(|other| other.id.to_string() == section);
        let section = section.expect("the plan has the section");
        file[(section.offset + section.length / 2) as usize] ^= 1;
    };
    bytes(
        &format!("a flipped byte in the {section}"),
        flip,
        &[section, "is damaged: expected BLAKE3"],
    )
}

/// Writes the plan again with its program, manifest and tokenizer as `edit` leaves them.
fn rewritten(scene: &Scene, edit: fn(&mut Program, &mut PlanIndex, &mut Option<Vec<u8>>)) {
    scene.edit("good.plan", |file| {
        let mut index = PlanIndex::read(file).expect("the plan is good");
        let mut program = index.programs[0].clone();
        let mut tokenizer = index.tokenizer.clone().map(|range| file[range].to_vec());
        let mut table = WeightTable::new();
        for weight in &mut program.weights {
            let bytes = file[index.weight(weight).expect("the weight is there")].to_vec();
            let place = table.add(bytes);
            (weight.offset, weight.bytes, weight.hash) = (place.offset, place.bytes, place.hash);
        }
        edit(&mut program, &mut index, &mut tokenizer);
        let contents = Contents {
            manifest: &index.manifest,
            programs: &[program],
            weights: &table,
            modules: None,
            tokenizer: tokenizer.as_deref(),
        };
        let mut plan = Vec::new();
        write(contents, &mut plan).expect("the plan is whole");
        *file = plan;
    });
}

pub(super) fn rows() -> Vec<Row> {
    let elsewhere =
        |scene: &Scene| rewritten(scene, |program, _, _| program.target = "sm_80".to_owned());
    vec![
        Row::new("a plan that isn't there", "run other.plan --text a")
            .fails(2, ["`other.plan`", "No such file"]),
        Row::new("a plan that isn't there, inspected", "inspect other.plan")
            .fails(2, ["other.plan", "No such file"]),
        Row::new("a folder in place of a plan", "run model --text a")
            .fails(2, ["can't read the plan `model`: is a directory"]),
        Row::new("weights in place of a plan", "run model/model.safetensors --text a")
            .fails(2, ["`model/model.safetensors`", "which begins with 89 62 79 74 65 63 0d 0a"]),
        Row::new("a config in place of a plan, inspected", "inspect model/config.json")
            .fails(2, ["model/config.json", "which begins with"]),
        Row::new("tensors in place of a plan, examined", "doctor in.safetensors")
            .fails(2, ["in.safetensors", "which begins with"]),
        bytes("an empty plan", Vec::clear, &["found a file of 0"]),
        bytes("a plan cut in its header", |file| file.truncate(40), &["found a file of 40"]),
        bytes(
            "a plan cut in its weights",
            |file| file.truncate(file.len() - 1),
            &["the plan is cut off"],
        ),
        bytes("bytes after the plan", |file| file.push(0), &["expected the plan to end after"]),
        bytes("a plan of another format", |file| file[8..16].fill(2), &["update bytec"]),
        bytes("a plan of no format", |file| file[8..16].fill(0), &["found format 0"]),
        bytes("a flipped byte in the magic", |file| file[0] ^= 1, &["found 88 62"]),
        bytes(
            "a flipped byte in the section table",
            |file| file[100] ^= 1,
            &["the header is damaged"],
        ),
        flipped("manifest"),
        flipped("program 0"),
        flipped("tokenizer"),
        flipped("weights"),
        Row::new("a plan for another machine", TEXT)
            .broken(elsewhere)
            .fails(3, ["target `cpu`", "forward for sm_80", "--target cpu"]),
        Row::new("a plan for another machine, examined", "doctor good.plan")
            .broken(elsewhere)
            .fails(3, ["good.plan", "--target cpu"]),
        Row::new("a plan with another entry", TEXT)
            .broken(|scene| rewritten(scene, |program, _, _| program.entry = "encode".to_owned()))
            .fails(2, ["entry `forward`", "encode for cpu", "an entry that it has"]),
        Row::new("a plan that takes no texts", TEXT)
            .broken(|scene| {
                rewritten(scene, |_, index, tokenizer| {
                    (index.manifest.text, *tokenizer) = (None, None);
                });
            })
            .fails(2, ["good.plan", "no tokenizer", "--inputs"]),
        Row::new("a plan with a broken tokenizer", TEXT)
            .broken(|scene| rewritten(scene, |_, _, tokenizer| *tokenizer = Some(b"{}".to_vec())))
            .fails(2, ["good.plan", "tokenizer.json"]),
        Row::new("a tokenizer past the vocabulary", "run good.plan --text the")
            .broken(|scene| {
                rewritten(scene, |_, _, tokenizer| {
                    let text = String::from_utf8(tokenizer.take().expect("it has one"));
                    let text = text.expect("JSON is text").replace("\"the\":4", "\"the\":50");
                    *tokenizer = Some(text.into_bytes());
                });
            })
            .fails(2, ["text 1", "`input_ids`", "element 1", "below 50", "found 50"]),
    ]
}

#[test]
fn every_changed_byte_and_every_cut_is_found() {
    let plan = Scene::new().read("good.plan");
    // Every byte of the header and its table, and places spread over the rest.
    let step = plan.len() / 400;
    let places: Vec<_> =
        (0..512).chain((512..plan.len()).step_by(step)).chain([plan.len() - 1]).collect();
    let mut changed = plan.clone();
    for &place in &places {
        changed[place] ^= 1 << (place % 8);
        assert!(PlanIndex::read(&changed).is_err(), "byte {place}");
        changed[place] = plan[place];
        assert!(PlanIndex::read(&plan[..place]).is_err(), "cut to {place} bytes");
    }
    assert!(PlanIndex::read(&changed).is_ok());
}
