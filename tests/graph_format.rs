//! The graph text: its page tells of every op, and the graph of every model prints, reads back and compiles as it was.

use std::fmt::Write;
use std::fs;

use bytec_compiler::{CompileError, FrontOptions, Options};
use bytec_ir::ops::{Arity, AttributeRow, OpRow, TABLE};
use bytec_ir::{BinaryFn, Def, Graph, NodeId, PoolKind, ReduceFn, UnaryFn, parse};
use bytec_models::MODELS;
use bytec_plan::program::Program;
use bytec_tests::{families, plans};

const PAGE: &str = "docs/graph-format.md";
const GENERATED: &str = "<!-- From here to the end";

/// How the page calls an attribute's type.
fn written(ty: &str) -> &'static str {
    match ty {
        "usize" | "i64" => "whole number",
        "Real" => "number",
        "Option<Real>" => "number or none",
        "Dim" => "dimension",
        "Vec<Dim>" => "list of dimensions",
        "Vec<usize>" => "list of whole numbers",
        "Vec<UnaryFn>" => "list of functions of one number",
        "UnaryFn" => "function of one number",
        "BinaryFn" => "function of two numbers",
        "ReduceFn" => "reduction",
        "PoolKind" => "pooling",
        "Band" => "mask",
        "Bias" => "bias",
        "Rotary" => "rotation",
        "Option<Rotary>" => "rotation or none",
        "Expr" => "expression",
        other => panic!("say here, and under Attributes in {PAGE}, how {other} is written"),
    }
}

fn paragraph(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn op(row: &OpRow, page: &mut String) {
    let operands = row.operands.iter().map(|operand| match operand.arity {
        Arity::One => operand.name.to_owned(),
        Arity::Optional => format!("[{}]", operand.name),
        Arity::Many => format!("{}, ..", operand.name),
    });
    let operands: Vec<_> = operands.collect();
    let (name, operands) = (row.mnemonic, operands.join(", "));
    write!(page, "\n### `{name}({operands})`\n\n{}\n", paragraph(row.doc)).unwrap();
    if !row.attribute_rows.is_empty() {
        page.push('\n');
    }
    for AttributeRow { name, ty, doc, default } in row.attribute_rows {
        let default = default().map_or(String::new(), |text| format!(", `{text}` if left out"));
        let (ty, doc) = (written(ty), paragraph(doc));
        writeln!(page, "- `{name}` ({ty}{default}): {doc}").unwrap();
    }
}

/// The part of the page that tables say.
fn generated() -> String {
    let mut page = String::from("\n## Names\n\n| sort | names |\n|---|---|\n");
    let mut names = |sort: &str, names: Vec<&str>| {
        writeln!(page, "| {sort} | `{}` |", names.join("` `")).unwrap();
    };
    names("functions of one number", UnaryFn::ALL.iter().map(|f| f.name()).collect());
    names("functions of two numbers", BinaryFn::ALL.iter().map(|f| f.name()).collect());
    names("reductions", ReduceFn::ALL.iter().map(|f| f.name()).collect());
    names("poolings", PoolKind::ALL.iter().map(|f| f.name()).collect());
    page.push_str("\n## Ops\n");
    for row in TABLE {
        op(row, &mut page);
    }
    page
}

#[test]
fn the_page_tells_of_every_op() {
    let path = bytec_tests::root().join(PAGE);
    let page = fs::read_to_string(&path).expect("the page is there");
    let version = format!("# The bytec graph text, version {}\n", bytec_ir::text::VERSION);
    assert!(page.starts_with(&version), "{version}");
    let start = page.find(GENERATED).expect("the page says where the tables begin");
    let start = start + page[start..].find('\n').expect("the line ends") + 1;
    let expected = generated();
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
        fs::write(&path, format!("{}{expected}", &page[..start])).expect("the page can be written");
    } else {
        assert!(page[start..] == expected, "{PAGE} is stale: UPDATE_EXPECT=1 writes it anew");
    }
}

#[test]
fn the_examples_of_the_page_are_graphs() {
    let page = fs::read_to_string(bytec_tests::root().join(PAGE)).expect("the page is there");
    let blocks = page.split("```text\n").skip(1).filter_map(|block| block.split_once("```"));
    let graphs: Vec<_> =
        blocks.map(|(text, _)| text).filter(|text| text.starts_with("bytec")).collect();
    assert!(!graphs.is_empty());
    for text in graphs {
        let graph = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        bytec_ir::verify::verify(&graph).unwrap_or_else(|e| panic!("{e}\n{text}"));
    }
}

/// Every value by name with its definition and operands, and the rest of a graph: all but the ids.
fn content(graph: &Graph) -> Vec<String> {
    let shown = |id: NodeId| {
        let sigil = if graph.node(id).def == Def::Weight { '@' } else { '%' };
        format!("{sigil}{}", graph.name(id))
    };
    let value = |id| {
        let operands: Vec<_> = graph.operands(id).into_iter().map(shown).collect();
        format!("{} {:?} {operands:?}", shown(id), graph.node(id))
    };
    let outputs = graph.outputs().iter();
    let outputs = outputs.map(|output| format!("{} = {}", output.name, shown(output.value)));
    let mut content: Vec<_> = graph.ids().map(value).collect();
    content.sort();
    content.extend(outputs);
    content.extend(graph.symbols().iter().map(|range| format!("{range:?}")));
    content
}

#[test]
fn every_model_prints_and_reads_back() {
    for family in MODELS {
        let architectures = (family.architectures)().len() as u64;
        for seed in 0..architectures.max(4) {
            let graph = families::graph(family, seed);
            let text = graph.to_string();
            let read = parse(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", family.name));
            assert_eq!(read.to_string(), text, "{}, seed {seed}", family.name);
            assert_eq!(content(&read), content(&graph), "{}, seed {seed}", family.name);
        }
    }
}

/// From the text of a model's graph, with the same weights, comes the program that comes from its config.
#[test]
fn every_model_compiles_from_its_text_to_the_same_program() {
    let folder = tempfile::tempdir().unwrap();
    for family in MODELS {
        let mut compiled = 0;
        for seed in 0..2 {
            let model = folder.path().join(format!("{}.{seed}", family.name));
            plans::write_folder(families::checkpoint(family, seed), &model).unwrap();
            let from_config = programs(&model, FrontOptions::default());
            let text = model.join("graph.bytec");
            fs::write(&text, families::graph(family, seed).to_string()).unwrap();
            fs::remove_file(model.join("config.json")).unwrap();
            let front = FrontOptions { graph: Some(text), ..FrontOptions::default() };
            assert_eq!(programs(&model, front), from_config, "{}, seed {seed}", family.name);
            compiled += usize::from(from_config.is_ok());
        }
        assert!(compiled > 0, "no {} compiles", family.name);
    }
}

/// What a model compiles to, or why it doesn't, which is the same for both sources.
fn programs(model: &std::path::Path, front: FrontOptions) -> Result<Vec<Program>, String> {
    let options = Options { front, threads: Some(1), ..Options::default() };
    bytec_compiler::compile(model, &options, &mut plans::Silent, |emitted, _| {
        Ok::<_, CompileError>(emitted.programs.clone())
    })
    .map_err(|error| error.to_string())
}
