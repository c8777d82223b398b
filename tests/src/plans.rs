//! Model folders and plans made for a test, in a temporary folder.

use std::path::Path;

use anyhow::Result;
use bytec_compiler::{CompileError, Options, Progress, Stages};
use bytec_models::tiny::TinyCheckpoint;
use bytec_plan::program::Program;
use bytec_plan::reader::PlanIndex;
use bytec_plan::weights::WeightTable;
use bytec_plan::writer::{Contents, write};

/// Watches nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&mut self, _: &'static str) {}
    fn done(&mut self, _: String) {}
}

/// Writes a tiny checkpoint as a Hugging Face folder.
///
/// # Errors
/// If the folder can't be written.
pub fn write_folder(tiny: impl Into<TinyCheckpoint>, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let checkpoint = tiny.into();
    std::fs::write(folder.join("config.json"), checkpoint.config_json())?;
    std::fs::write(folder.join("model.safetensors"), checkpoint.safetensors())?;
    Ok(())
}

/// Compiles a folder or file to a plan file and returns every stage as text.
///
/// # Errors
/// If it does not compile.
pub fn compile(source: &Path, options: &Options, plan: &Path) -> Result<Stages, CompileError> {
    bytec_compiler::compile(source, options, &mut Silent, |emitted, stages| {
        emitted.write_file(plan)?;
        Ok::<_, CompileError>(stages)
    })
}

/// A plan after a change of each of its programs.
///
/// # Errors
/// If the plan is not one, before or after.
pub fn changed(plan: &[u8], change: impl Fn(&mut Program)) -> Result<Vec<u8>> {
    let PlanIndex { manifest, mut programs, weights, modules, tokenizer, .. } =
        PlanIndex::read(plan)?;
    let (mut table, mut code) = (WeightTable::new(), WeightTable::new());
    // All that was there stays where it was.
    table.add(&plan[weights]);
    code.add(&plan[modules]);
    programs.iter_mut().for_each(change);
    let contents = Contents {
        manifest: &manifest,
        programs: &programs,
        weights: &table,
        modules: Some(&code),
        tokenizer: tokenizer.map(|range| &plan[range]),
    };
    let mut out = Vec::new();
    write(contents, &mut out)?;
    Ok(out)
}

/// Has every batch launched as those of the fewest rows are for which one launch does two steps.
pub fn launch_together(program: &mut Program) {
    let Some(code) = &mut program.device else { return };
    let without = code.by_rows.iter().filter(|other| !other.launch.has_blocks());
    let Some(from) = without.map(|other| other.rows).min() else { return };
    code.by_rows.retain(|other| other.rows == from);
    code.by_rows.iter_mut().for_each(|other| other.rows = 1);
}
