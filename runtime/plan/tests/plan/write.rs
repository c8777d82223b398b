//! What is written is what is read, and what can't be read is not written.

use std::borrow::Cow;
use std::io;

use bytec_plan::extent::Extent;
use bytec_plan::kernel::Kernel;
use bytec_plan::manifest::Manifest;
use bytec_plan::program::Program;
use bytec_plan::reader::PlanIndex;
use bytec_plan::weights::WeightTable;
use bytec_plan::writer::{self, Contents, WriteError};
use expect_test::{Expect, expect};

use crate::sample::{self, TOKENIZER};

#[test]
fn a_plan_reads_back() {
    let (program, table) = sample::program();
    let file = sample::plan();
    let plan = PlanIndex::read(&file).unwrap();
    assert_eq!(plan.manifest, sample::manifest());
    assert_eq!(plan.programs, [program]);
    assert_eq!(plan.format, 1);
    assert_eq!(&file[plan.tokenizer.clone().unwrap()], TOKENIZER);
    assert_eq!(plan.weights.len() as u64, table.len());
    assert_eq!(plan.weights.start % 256, 0);
    let program = plan.program("forward", "cpu").unwrap();
    assert!(plan.program("forward", "sm_80").is_none());
    for weight in &program.weights {
        let bytes = &file[plan.weight(weight).unwrap()];
        assert_eq!(blake3::hash(bytes).to_hex().as_str(), weight.hash, "{}", weight.name);
    }
    let mut outside = program.weights[0].clone();
    outside.offset = u64::MAX - 4;
    assert_eq!(plan.weight(&outside), None);
}

#[test]
fn the_same_contents_give_the_same_bytes() {
    assert_eq!(sample::plan(), sample::plan());
}

#[test]
fn equal_weights_are_kept_once_and_borrowed_ones_are_not_copied() {
    let ones = vec![1u8; 300];
    let mut table = WeightTable::new();
    let first = table.add(&ones[..]);
    let other = table.add(vec![2u8; 8]);
    let again = table.add(Cow::Owned(ones.clone()));
    let nothing = table.add(Vec::new());
    assert_eq!(first, again);
    assert_eq!((first.offset, first.bytes), (0, 300));
    assert_eq!((other.offset, other.bytes), (512, 8));
    assert_eq!((nothing.offset, nothing.bytes, table.len()), (768, 0, 768));
    assert!(WeightTable::new().is_empty());
}

#[test]
fn programs_share_the_weight_section() {
    let (program, table) = sample::program();
    let other = Program { entry: "other".to_owned(), ..program.clone() };
    let file = sample::plan_of(&sample::manifest(), &[program, other], &table);
    let plan = PlanIndex::read(&file).unwrap();
    let [first, second] = &plan.programs[..] else { panic!("two programs") };
    assert_eq!(plan.weight(&first.weights[3]), plan.weight(&second.weights[3]));
    assert_eq!(plan.weights.len() as u64, table.len());
}

#[test]
fn a_plan_without_weights_and_tokenizer_reads_back() {
    let (mut program, _) = sample::program();
    let softmax = program.steps[7].clone();
    program.weights.clear();
    program.steps = vec![softmax];
    program.inputs[0].dtype = program.dtype;
    program.inputs[0].below = None;
    program.inputs[0].width = 4;
    program.inputs[0].shape = program.outputs[1].shape.clone();
    program.steps[0].operands = vec![bytec_plan::program::Operand::Input(0)];
    program.outputs.remove(0);
    program.outputs[0].buffer = 7;
    let table = WeightTable::new();
    let manifest = Manifest::default();
    let mut file = Vec::new();
    let programs = [program];
    let contents = Contents {
        manifest: &manifest,
        programs: &programs,
        weights: &table,
        modules: None,
        tokenizer: None,
    };
    writer::write(contents, &mut file).unwrap();
    let plan = PlanIndex::read(&file).unwrap();
    assert!(plan.weights.is_empty() && plan.tokenizer.is_none());
    assert_eq!(file.len(), plan.weights.start, "the file ends where the empty section begins");
}

fn refused(
    manifest: &Manifest,
    programs: &[Program],
    weights: &WeightTable<'_>,
    tokenizer: Option<&[u8]>,
    message: Expect,
) {
    let mut out = Vec::new();
    let contents = Contents { manifest, programs, weights, modules: None, tokenizer };
    let error = writer::write(contents, &mut out).expect_err("the contents are wrong");
    message.assert_eq(&error.to_string());
    assert!(out.is_empty(), "nothing is written");
}

fn attention(scale: f32) -> Kernel {
    Kernel::attention(2, 2, scale)
}

#[test]
fn contents_that_would_not_be_read_are_not_written() {
    let (program, table) = sample::program();
    let manifest = sample::manifest();
    let some = Some(TOKENIZER);
    refused(&manifest, &[], &table, some, expect! {"expected 1 to 1020 programs, found 0"});
    let twice = [program.clone(), program.clone()];
    refused(
        &manifest,
        &twice,
        &table,
        some,
        expect! {"expected one program for each entry and target, found two for `forward` on `cpu`"},
    );
    refused(
        &manifest,
        std::slice::from_ref(&program),
        &table,
        None,
        expect! {"the manifest says how texts become inputs: expected a tokenizer, found none"},
    );
    let empty = WeightTable::new();
    refused(
        &manifest,
        std::slice::from_ref(&program),
        &empty,
        some,
        expect! {"program `forward` for `cpu`: weight 0 `words`: expected to end inside its section of 0 bytes, found 96 bytes from 0"},
    );
    let large = vec![b' '; (64 << 20) + 1];
    refused(
        &manifest,
        std::slice::from_ref(&program),
        &table,
        Some(&large),
        expect! {"tokenizer: expected at most 67108864 bytes, found 67108865"},
    );
    let mut deep = program.clone();
    for _ in 0..200 {
        deep.extents[0] = Extent::CeilDiv(Box::new(deep.extents[0].clone()), 1);
    }
    refused(
        &manifest,
        &[deep],
        &table,
        some,
        expect! {"program 0: expected JSON that can be read back, found: recursion limit exceeded at line 1 column 919"},
    );
    // Read as an f64 and then rounded, this number's shortest text is the next f32.
    let mut between = program.clone();
    between.steps[2].kernel = attention(f32::from_bits(0x15ae_43fd));
    refused(
        &manifest,
        &[between],
        &table,
        some,
        expect! {"program 0: expected its JSON to read back as it was, found a difference"},
    );
    let mut nan = program;
    nan.steps[2].kernel = attention(f32::NAN);
    refused(
        &manifest,
        &[nan],
        &table,
        some,
        expect! {"program `forward` for `cpu`: step 2 `attended`: expected scale to be finite, found NaN"},
    );
}

#[test]
fn what_the_writer_says_is_passed_on() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (program, weights) = sample::program();
    let programs = [program];
    let contents = Contents {
        manifest: &sample::manifest(),
        programs: &programs,
        weights: &weights,
        modules: None,
        tokenizer: Some(TOKENIZER),
    };
    let error = writer::write(contents, Full).unwrap_err();
    assert!(matches!(&error, WriteError::Io(io) if io.kind() == io::ErrorKind::StorageFull));
}
