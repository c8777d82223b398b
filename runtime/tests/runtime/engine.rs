//! Engines from files and from memory, and sessions that run at the same time.

use std::thread;

use bytec_plan::manifest::Manifest;
use bytec_plan::program::Layout;
use bytec_plan::weights::WeightTable;
use bytec_plan::writer::{Contents, write};
use bytec_runtime::{Device, Engine, EngineError, EngineOptions, Isa, SessionOptions};

use crate::encoder::{SMALL, encoder, texts};
use crate::programs::{Build, bits, run};

/// The bytes of a plan.
fn plan(build: &Build) -> Vec<u8> {
    let mut table = WeightTable::new();
    let mut program = build.program.clone();
    for weight in &mut program.weights {
        let start = weight.offset as usize;
        let placed = table.add(&build.weights[start..start + weight.bytes as usize]);
        (weight.offset, weight.hash) = (placed.offset, placed.hash);
    }
    let manifest = Manifest { family: "test".to_owned(), ..Manifest::default() };
    let contents = Contents {
        manifest: &manifest,
        programs: &[program],
        weights: &table,
        modules: None,
        tokenizer: Some(b"{}"),
    };
    let mut bytes = Vec::new();
    write(contents, &mut bytes).expect("memory takes all bytes");
    bytes
}

/// A file of the test's own that goes when the test ends.
struct Temporary(std::path::PathBuf);

impl Temporary {
    fn new(name: &str, bytes: &[u8]) -> Temporary {
        let name = format!("bytec-runtime-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).expect("the temporary folder takes files");
        Temporary(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn message(error: &EngineError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[test]
fn a_plan_gives_the_same_from_a_file_and_from_memory() {
    let build = encoder(SMALL);
    let bytes = plan(&build);
    let file = Temporary::new("good.plan", &bytes);
    let samples = texts(SMALL, &[5, 130, 1], 7);
    let samples: Vec<_> = samples.iter().collect();
    let direct = build.engine(1, Isa::best());
    let expected = run(&mut direct.session(), &direct, &samples);
    let opened = Engine::open(&file.0).unwrap();
    let copied = Engine::from_bytes(&bytes, EngineOptions::default()).unwrap();
    for engine in [opened, copied] {
        assert_eq!(engine.manifest().family, "test");
        assert_eq!(engine.program().entry, "forward");
        assert_eq!(engine.tokenizer(), Some(&b"{}"[..]));
        let got = run(&mut engine.session(), &engine, &samples);
        assert!(got.iter().zip(&expected).all(|(a, b)| bits(a) == bits(b)));
    }
}

#[test]
fn what_is_no_plan_is_refused() {
    let build = encoder(SMALL);
    let good = plan(&build);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (name, bytes) in [
        ("empty", &[][..]),
        ("text", &b"this is no plan, whatever its name says, nor will it be one"[..]),
        ("cut", &good[..good.len() - 1]),
        ("flipped", &flipped),
    ] {
        let file = Temporary::new(name, bytes);
        let error = Engine::open(&file.0).unwrap_err();
        assert!(matches!(error, EngineError::Read { .. }), "{name}: {}", message(&error));
    }
    let error = Engine::open("there/is/no/such.plan").unwrap_err();
    let text = message(&error);
    assert!(text.starts_with("can't read the plan `there/is/no/such.plan`: "), "{text}");
}

#[test]
fn a_plan_without_a_program_for_the_device_says_what_it_has() {
    let mut build = encoder(SMALL);
    build.program.target = "sm_80".to_owned();
    let error = Engine::from_bytes(&plan(&build), EngineOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected a program for entry `forward` and target `cpu`, found forward for sm_80; \
         compile the plan with `--target cpu`"
    );
    // Of an entry that no program has, no other target would help.
    let options = EngineOptions { entry: "encode".to_owned(), ..EngineOptions::default() };
    let error = Engine::from_bytes(&plan(&build), options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected a program for entry `encode`, found forward for sm_80; open the plan with an entry that it has"
    );
    let error = "tpu".parse::<Device>().unwrap_err();
    assert_eq!(error.to_string(), "expected a device out of: cpu, cuda; found `tpu`");
    assert_eq!("cpu".parse::<Device>().unwrap(), Device::Cpu);
}

#[test]
fn weights_in_another_layout_are_refused() {
    let mut build = encoder(SMALL);
    let linear = build.program.steps.iter().find(|step| step.kernel.name() == "linear").unwrap();
    let bytec_plan::program::Operand::Weight(weight) = linear.operands[1] else {
        panic!("a weight")
    };
    let spec = &mut build.program.weights[weight as usize];
    spec.layout = Layout::RowMajor;
    spec.bytes = spec.shape.iter().product::<u64>() * 4;
    let error = Engine::from_program(build.program, &build.weights, EngineOptions::default());
    let text = error.unwrap_err().to_string();
    assert!(text.contains("in panels of 32, found RowMajor"), "{text}");
}

#[test]
fn an_encoder_gives_a_sample_the_same_bits_every_way() {
    let build = encoder(SMALL);
    let lengths: Vec<u64> = (0..200).map(|i| 1 + i * 37 % 200 * (i % 3) / 2).collect();
    let samples = texts(SMALL, &lengths, 8);
    let samples: Vec<_> = samples.iter().collect();
    let engine = build.engine(1, Isa::best());
    let mut session = engine.session();
    let alone: Vec<_> =
        samples.iter().map(|s| bits(&run(&mut session, &engine, &[s])[0])).collect();
    for isa in Isa::available().into_iter().filter(|isa| isa.name() != "portable") {
        for threads in [1, 2, 3] {
            let engine = build.engine(threads, isa);
            let mut session =
                engine.session_with(SessionOptions { poison: true, ..SessionOptions::default() });
            for (got, expected) in run(&mut session, &engine, &samples).iter().zip(&alone) {
                assert!(bits(got) == *expected, "{isa:?} with {threads} threads");
            }
        }
    }
}

#[test]
fn sessions_run_at_the_same_time() {
    let build = encoder(SMALL);
    let engine = build.engine(2, Isa::best());
    let lengths = [1, 64, 3, 130, 17];
    let sets: Vec<_> = (0..4).map(|seed| texts(SMALL, &lengths, seed)).collect();
    let expected: Vec<Vec<_>> = sets
        .iter()
        .map(|set| {
            let samples: Vec<_> = set.iter().collect();
            run(&mut engine.session(), &engine, &samples).iter().map(|x| bits(x)).collect()
        })
        .collect();
    thread::scope(|scope| {
        for (set, expected) in sets.iter().zip(&expected) {
            let engine = &engine;
            scope.spawn(move || {
                let mut session = engine.session();
                let samples: Vec<_> = set.iter().collect();
                for _ in 0..30 {
                    let got = run(&mut session, engine, &samples);
                    assert!(got.iter().zip(expected).all(|(a, b)| bits(a) == *b));
                }
            });
        }
    });
}
