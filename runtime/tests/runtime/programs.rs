//! Programs made in memory, the samples that go through them, and the comparison of every way to run them.

use bytec_plan::extent::{Extent, Rows};
use bytec_plan::kernel::{Broadcast, Instr, Kernel};
use bytec_plan::program::{
    Buffer, DType, InputSpec, Layout, Need, Operand, OutputSpec, Program, Slot, Step, SymbolSpec,
    View, WeightSpec,
};
use bytec_runtime::{
    Elements, Engine, EngineOptions, Isa, PackedBatch, Sample, Session, SessionOptions,
};

/// The lengths around which vector tails, tiles and bands of rows end.
pub(crate) const LENGTHS: [u64; 13] = [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129];

/// A program under construction. Symbol 0 is `L`, symbol 1 is `K`.
pub(crate) struct Build {
    pub(crate) program: Program,
    pub(crate) weights: Vec<u8>,
}

/// Rows of symbol `L`.
pub(crate) const L: Rows = Rows::Ragged(0);
/// Rows of symbol `K`.
pub(crate) const K: Rows = Rows::Ragged(1);

impl Build {
    /// A program over `L`, and over `K` too if `two`.
    pub(crate) fn new(two: bool) -> Build {
        let symbol = |name: &str| SymbolSpec { name: name.to_owned(), min: 1, max: 4096 };
        let symbols = if two { vec![symbol("L"), symbol("K")] } else { vec![symbol("L")] };
        let program = Program {
            entry: "forward".to_owned(),
            target: "cpu".to_owned(),
            dtype: DType::F32,
            extents: (0..symbols.len()).map(|i| Extent::Symbol(i as u32)).collect(),
            symbols,
            inputs: vec![],
            outputs: vec![],
            weights: vec![],
            buffers: vec![],
            slots: vec![],
            steps: vec![],
            device: None,
        };
        Build { program, weights: vec![] }
    }

    /// A float input.
    pub(crate) fn input(&mut self, name: &str, rows: Rows, width: u64) -> Operand {
        let mut shape = match rows {
            Rows::PerSample => vec![],
            Rows::Ragged(extent) => vec![Extent::Symbol(extent)],
        };
        shape.push(Extent::Fixed(width));
        self.add_input(InputSpec {
            name: name.to_owned(),
            dtype: DType::F32,
            shape,
            rows,
            width,
            default: None,
            below: None,
        })
    }

    /// An input of one id a row.
    pub(crate) fn ids(&mut self, name: &str, below: u64, default: Option<i64>) -> Operand {
        self.add_input(InputSpec {
            name: name.to_owned(),
            dtype: DType::I64,
            shape: vec![Extent::Symbol(0)],
            rows: L,
            width: 1,
            default,
            below: Some(below),
        })
    }

    pub(crate) fn add_input(&mut self, input: InputSpec) -> Operand {
        self.program.inputs.push(input);
        Operand::Input(self.program.inputs.len() as u32 - 1)
    }

    /// A weight as it stands.
    pub(crate) fn weight(&mut self, shape: &[u64], data: &[f32]) -> Operand {
        self.place(shape, Layout::RowMajor, data)
    }

    /// A weight `[n, k]` in panels.
    pub(crate) fn panels(&mut self, n: usize, k: usize, data: &[f32]) -> Operand {
        let packed = panels(n, k, data);
        self.place(&[n as u64, k as u64], Layout::Panels { width: 32 }, &packed)
    }

    /// Makes the program one whose products are of bf16, as a weight of that type does.
    pub(crate) fn multiply_in_bf16(&mut self) {
        self.place_bytes(&[1, 1], Layout::Pairs { width: 32 }, DType::Bf16, &[0; 32 * 4]);
    }

    /// A table of 32-bit integers.
    pub(crate) fn integers(&mut self, data: &[i32]) -> Operand {
        let bytes: Vec<_> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.place_bytes(&[data.len() as u64], Layout::RowMajor, DType::I32, &bytes)
    }

    /// A buffer of an input's numbers.
    pub(crate) fn copy(&mut self, x: Operand, width: u64) -> Operand {
        let (operands, body) = (vec![Broadcast::Full], vec![Instr::Operand(0)]);
        let kernel = Kernel::Pointwise { width: width as u32, operands, body };
        self.step(kernel, vec![x], L, width)
    }

    fn place(&mut self, shape: &[u64], layout: Layout, data: &[f32]) -> Operand {
        let bytes: Vec<_> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.place_bytes(shape, layout, DType::F32, &bytes)
    }

    /// A weight of these bytes.
    pub(crate) fn place_bytes(
        &mut self,
        shape: &[u64],
        layout: Layout,
        dtype: DType,
        bytes: &[u8],
    ) -> Operand {
        self.weights.resize(self.weights.len().next_multiple_of(256), 0);
        let offset = self.weights.len() as u64;
        self.weights.extend(bytes);
        self.program.weights.push(WeightSpec {
            name: format!("w{}", self.program.weights.len()),
            sources: vec![],
            formula: String::new(),
            shape: shape.to_vec(),
            dtype,
            layout,
            offset,
            bytes: bytes.len() as u64,
            hash: "0".repeat(64),
        });
        Operand::Weight(self.program.weights.len() as u32 - 1)
    }

    /// A step into a new buffer with a slot of its own; gives the whole buffer.
    pub(crate) fn step(
        &mut self,
        kernel: Kernel,
        operands: Vec<Operand>,
        rows: Rows,
        width: u64,
    ) -> Operand {
        self.program.slots.push(Slot { needs: vec![Need { rows, bytes_per_row: width * 4 }] });
        let slot = self.program.slots.len() as u32 - 1;
        self.step_in(slot, kernel, operands, rows, width)
    }

    /// A step into a new buffer in a slot that is there.
    pub(crate) fn step_in(
        &mut self,
        slot: u32,
        kernel: Kernel,
        operands: Vec<Operand>,
        rows: Rows,
        width: u64,
    ) -> Operand {
        let buffer = self.program.buffers.len() as u32;
        let name = format!("{}{buffer}", kernel.name());
        self.program.buffers.push(Buffer { name: name.clone(), rows, width, slot });
        let reason = "test".to_owned();
        let (output, inner) = (buffer, Vec::new());
        self.program.steps.push(Step { name, inner, kernel, operands, output, reason });
        Operand::View(View { buffer, column: 0, width })
    }

    /// Gives a whole buffer out.
    pub(crate) fn output(&mut self, name: &str, value: Operand) {
        let Operand::View(View { buffer, .. }) = value else { panic!("only buffers go out") };
        let Buffer { rows, width, .. } = self.program.buffers[buffer as usize];
        let mut shape = match rows {
            Rows::PerSample => vec![],
            Rows::Ragged(extent) => vec![Extent::Symbol(extent)],
        };
        shape.push(Extent::Fixed(width));
        self.program.outputs.push(OutputSpec { name: name.to_owned(), shape, buffer });
    }

    /// The engine.
    pub(crate) fn engine(&self, threads: usize, isa: Isa) -> Engine {
        let options =
            EngineOptions { threads: Some(threads), isa: Some(isa), ..EngineOptions::default() };
        Engine::from_program(self.program.clone(), &self.weights, options)
            .expect("the test's program keeps the rules")
    }
}

/// Some columns of a buffer.
pub(crate) fn columns(value: Operand, column: u64, width: u64) -> Operand {
    let Operand::View(View { buffer, .. }) = value else { panic!("only buffers have columns") };
    Operand::View(View { buffer, column, width })
}

/// `[n, k]` as `[ceil(n / 32)][k][32]`.
pub(crate) fn panels(n: usize, k: usize, data: &[f32]) -> Vec<f32> {
    let mut packed = vec![0.0; n.div_ceil(32) * k * 32];
    for i in 0..n {
        for j in 0..k {
            packed[(i / 32 * k + j) * 32 + i % 32] = data[i * k + j];
        }
    }
    packed
}

/// Numbers that look random and are the same each time.
pub(crate) struct Noise(pub u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// From -1 to 1.
    pub(crate) fn float(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 30) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    pub(crate) fn below(&mut self, n: u64) -> i64 {
        (self.next() % n) as i64
    }
}

/// A sample that owns its tensors.
#[derive(Clone, Default)]
pub(crate) struct Owned {
    pub(crate) floats: Vec<(&'static str, Vec<u64>, Vec<f32>)>,
    pub(crate) ids: Vec<(&'static str, Vec<u64>, Vec<i64>)>,
}

impl Owned {
    pub(crate) fn sample(&self) -> Sample<'_> {
        let mut sample = Sample::new();
        for (name, shape, data) in &self.floats {
            sample = sample.with(name, shape, Elements::F32(data));
        }
        for (name, shape, data) in &self.ids {
            sample = sample.with(name, shape, Elements::I64(data));
        }
        sample
    }

    /// The same shapes, full of what must not spread.
    pub(crate) fn spoiled(&self) -> Owned {
        let mut spoiled = self.clone();
        for (_, _, data) in &mut spoiled.floats {
            for (i, x) in data.iter_mut().enumerate() {
                *x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX][i % 4];
            }
        }
        spoiled
    }
}

/// Samples in one batch.
pub(crate) fn packed(engine: &Engine, samples: &[&Owned]) -> PackedBatch {
    let mut batch = PackedBatch::new(engine);
    for sample in samples {
        batch.push(&sample.sample()).expect("the test's sample fits");
    }
    batch
}

/// Runs samples in one batch and gives output `out` of each.
pub(crate) fn run(session: &mut Session, engine: &Engine, samples: &[&Owned]) -> Vec<Vec<f32>> {
    let batch = packed(engine, samples);
    let outputs = session.run(&batch).expect("the batch fits");
    let out = outputs.get("out").expect("the program gives `out`");
    (0..samples.len()).map(|i| out.sample(i).expect("one a sample").to_vec()).collect()
}

pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Every way in which this machine can multiply numbers of bf16 and int8: by fma and wider instructions, by those made for
/// them, by a matrix unit and by its emulation.
pub(crate) fn ways() -> Vec<Isa> {
    let mut ways = Vec::new();
    for isa in Isa::available().into_iter().chain([Isa::emulated_amx()]) {
        for way in [isa, isa.without_amx(), isa.without_amx().without_bf16().without_int8()] {
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
    }
    ways
}

/// Runs the samples alone, in one batch, in reverse, beside spoiled neighbours, with several threads and every
/// instruction set, in poisoned memory; all must give the same bits, and those must be near the reference in f64.
/// Gives the largest error as a part of the reference's largest number.
pub(crate) fn check(
    build: &Build,
    samples: &[Owned],
    reference: impl Fn(&Owned) -> Vec<f64>,
) -> f64 {
    let references: Vec<_> = samples.iter().map(reference).collect();
    check_on(&Isa::available(), build, samples, &references)
}

/// As [`check`], on these instruction sets, with the samples' references.
pub(crate) fn check_on(
    isas: &[Isa],
    build: &Build,
    samples: &[Owned],
    references: &[Vec<f64>],
) -> f64 {
    let poison = SessionOptions { poison: true, ..SessionOptions::default() };
    let mut expected: Option<Vec<Vec<u32>>> = None;
    let mut worst = 0.0f64;
    for &isa in isas {
        for threads in [1, 2, 5] {
            // Plain code takes its time; what a batch holds is all that an emulation is tried on.
            let plain = isa.name() == "portable";
            if plain && threads > 1 {
                continue;
            }
            let engine = build.engine(threads, isa);
            let mut session = engine.session_with(poison);
            let whole: Vec<_> = samples.iter().collect();
            let got = run(&mut session, &engine, &whole);
            let got_bits: Vec<_> = got.iter().map(|x| bits(x)).collect();
            let expected = expected.get_or_insert_with(|| got_bits.clone());
            assert!(*expected == got_bits, "bits differ on {isa:?} with {threads} threads");
            if plain && !isa.has_amx() {
                continue;
            }
            let reversed: Vec<_> = samples.iter().rev().collect();
            for (got, expected) in
                run(&mut session, &engine, &reversed).iter().zip(expected.iter().rev())
            {
                assert!(bits(got) == *expected, "bits differ in another order, {isa:?} {threads}");
            }
            let spoiled: Vec<_> = samples.iter().map(Owned::spoiled).collect();
            let mixed: Vec<_> = spoiled.iter().zip(samples).flat_map(|(a, b)| [a, b]).collect();
            for (got, expected) in
                run(&mut session, &engine, &mixed).iter().skip(1).step_by(2).zip(&*expected)
            {
                assert!(bits(got) == *expected, "bits differ beside NaN, {isa:?} {threads}");
            }
            for (sample, expected) in samples.iter().zip(&*expected) {
                let alone = run(&mut session, &engine, &[sample]);
                assert!(bits(&alone[0]) == *expected, "bits differ alone, {isa:?} {threads}");
            }
            for (reference, got) in references.iter().zip(&got) {
                assert_eq!(reference.len(), got.len());
                let scale = reference.iter().fold(1e-30f64, |m, x| m.max(x.abs()));
                for (x, y) in reference.iter().zip(got) {
                    assert!(y.is_finite(), "a number that was not written, or spoiled");
                    worst = worst.max((x - f64::from(*y)).abs() / scale);
                }
            }
        }
    }
    worst
}
