//! A small program with every kernel in it, and its plan.

use bytec_plan::check::SectionSizes;
use bytec_plan::extent::{Extent, Rows};
use bytec_plan::kernel::{BinaryFn, Broadcast, IdSource, Instr, Kernel, PoolKind, UnaryFn, Up};
use bytec_plan::manifest::{Manifest, PoolingSource, PoolingSpec, PoolingStep, TextSpec};
use bytec_plan::program::{
    Buffer, DType, InputSpec, Layout, Need, Operand, OutputSpec, Program, Slot, Step, SymbolSpec,
    View, WeightSpec,
};
use bytec_plan::weights::WeightTable;
use bytec_plan::writer::{self, Contents};

pub(crate) const RAGGED: Rows = Rows::Ragged(0);
pub(crate) const TOKENIZER: &[u8] = b"{\"version\":\"1.0\"}";

pub(crate) fn manifest() -> Manifest {
    Manifest {
        compiler: "bytec 0.1.0".to_owned(),
        front: "safetensors".to_owned(),
        family: "bert".to_owned(),
        architecture: "BertModel".to_owned(),
        text: Some(TextSpec {
            max_tokens: 8,
            max_tokens_from: "sentence_bert_config.json".to_owned(),
            ids: "input_ids".to_owned(),
            type_ids: None,
            mask: None,
        }),
        pooling: Some(PoolingSpec {
            kinds: vec![PoolKind::Mean],
            steps: vec![PoolingStep::Normalize],
            from: PoolingSource::Folder,
        }),
        ..Manifest::default()
    }
}

/// A program of width 4 over at most 8 tokens, and its weights.
pub(crate) fn program() -> (Program, WeightTable<'static>) {
    let mut table = WeightTable::new();
    let mut weights = Vec::new();
    let mut weight = |name: &str, shape: &[u64], layout: Layout| {
        let stored = match layout {
            Layout::RowMajor => shape.iter().product(),
            Layout::Panels { width } => {
                shape[0].div_ceil(width.into()) * u64::from(width) * shape[1]
            }
            Layout::Pairs { .. } | Layout::Quads { .. } => {
                unreachable!("no weight of the sample is narrow")
            }
        };
        let seed = name.len() as f32;
        let bytes: Vec<u8> =
            (0..stored).flat_map(|i| (seed + i as f32 / 8.0).to_le_bytes()).collect();
        let place = table.add(bytes);
        weights.push(WeightSpec {
            name: name.to_owned(),
            sources: vec![format!("{name}.weight")],
            formula: String::new(),
            shape: shape.to_vec(),
            dtype: DType::F32,
            layout,
            offset: place.offset,
            bytes: place.bytes,
            hash: place.hash,
        });
    };
    weight("words", &[6, 4], Layout::RowMajor);
    weight("positions", &[8, 4], Layout::RowMajor);
    weight("gamma", &[4], Layout::RowMajor);
    weight("beta", &[4], Layout::RowMajor);
    weight("qkv", &[12, 4], Layout::Panels { width: 8 });
    weight("qkv_bias", &[12], Layout::RowMajor);
    weight("half", &[1], Layout::RowMajor);

    let buffer =
        |name: &str, rows, width, slot| Buffer { name: name.to_owned(), rows, width, slot };
    let buffers = vec![
        buffer("embedded", RAGGED, 4, 0),
        buffer("qkv", RAGGED, 12, 1),
        buffer("attended", RAGGED, 4, 2),
        buffer("normed", RAGGED, 4, 1),
        buffer("scaled", RAGGED, 4, 0),
        buffer("embedding", Rows::PerSample, 4, 3),
        buffer("centred", RAGGED, 4, 1),
        buffer("shares", RAGGED, 4, 2),
        buffer("last", RAGGED, 4, 1),
    ];
    let need = |rows, bytes_per_row| Slot { needs: vec![Need { rows, bytes_per_row }] };
    let slots =
        vec![need(RAGGED, 16), need(RAGGED, 48), need(RAGGED, 16), need(Rows::PerSample, 16)];

    let whole = |buffer: u32| view(buffer, 0, buffers[buffer as usize].width);
    let weight = Operand::Weight;
    let embed = Kernel::Embed {
        sources: vec![IdSource::Input, IdSource::Position { start: 0 }],
        width: 4,
        eps: Some(1e-12),
    };
    let linear = Kernel::Linear { n: 12, k: 4, bias: true, epilogue: vec![UnaryFn::GeluErf] };
    let attention = Kernel::attention(2, 2, 0.5);
    let norm = Kernel::LayerNorm { width: 4, eps: 1e-12, residual: true };
    let scale = Kernel::Pointwise {
        width: 4,
        operands: vec![Broadcast::Full, Broadcast::Row, Broadcast::Scalar],
        body: vec![
            Instr::Operand(0),
            Instr::Operand(1),
            Instr::Binary(BinaryFn::Mul, 0, 1),
            Instr::Operand(2),
            Instr::Binary(BinaryFn::Add, 2, 3),
            Instr::Const(1.0f32.to_bits()),
            Instr::Binary(BinaryFn::Max, 4, 5),
            Instr::Unary(UnaryFn::Tanh, 6),
        ],
    };
    let pool = Kernel::Pool { pooling: PoolKind::Mean, width: 4, normalize: Some(1e-12) };
    let centre = Kernel::Pointwise {
        width: 4,
        operands: vec![Broadcast::Full, Broadcast::Sample],
        body: vec![Instr::Operand(0), Instr::Operand(1), Instr::Binary(BinaryFn::Sub, 0, 1)],
    };
    let softmax = Kernel::Softmax { width: 4 };
    let unit = Kernel::L2Normalize { width: 4, eps: 1e-12 };
    let views = vec![view(1, 0, 4), view(1, 4, 4), view(1, 8, 4)];
    let kernels = [
        (embed, vec![weight(0), Operand::Input(0), weight(1), weight(2), weight(3)]),
        (linear, vec![whole(0), weight(4), weight(5)]),
        (attention, views),
        (norm, vec![whole(2), whole(0), weight(2), weight(3)]),
        (scale, vec![whole(3), weight(2), weight(6)]),
        (pool, vec![whole(4)]),
        (centre, vec![whole(4), whole(5)]),
        (softmax, vec![whole(6)]),
        (unit, vec![whole(7)]),
    ];
    let steps = kernels.into_iter().enumerate().map(|(i, (kernel, operands))| Step {
        name: buffers[i].name.clone(),
        inner: Vec::new(),
        kernel,
        operands,
        output: i as u32,
        reason: "the only kernel".to_owned(),
    });
    let program = Program {
        entry: "forward".to_owned(),
        target: "cpu".to_owned(),
        dtype: DType::F32,
        symbols: vec![SymbolSpec { name: "L".to_owned(), min: 1, max: 8 }],
        extents: vec![Extent::Symbol(0)],
        inputs: vec![InputSpec {
            name: "input_ids".to_owned(),
            dtype: DType::I64,
            shape: vec![Extent::Symbol(0)],
            rows: RAGGED,
            width: 1,
            default: None,
            below: Some(6),
        }],
        outputs: vec![
            OutputSpec { name: "embedding".to_owned(), shape: vec![Extent::Fixed(4)], buffer: 5 },
            OutputSpec {
                name: "last".to_owned(),
                shape: vec![Extent::Symbol(0), Extent::Fixed(4)],
                buffer: 8,
            },
        ],
        weights,
        steps: steps.collect(),
        device: None,
        buffers,
        slots,
    };
    (program, table)
}

pub(crate) fn view(buffer: u32, column: u64, width: u64) -> Operand {
    Operand::View(View { buffer, column, width })
}

/// The bytes of the sample's plan.
pub(crate) fn plan() -> Vec<u8> {
    let (program, weights) = program();
    plan_of(&manifest(), &[program], &weights)
}

/// The bytes of a plan of these parts.
pub(crate) fn plan_of(
    manifest: &Manifest,
    programs: &[Program],
    weights: &WeightTable<'_>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let contents =
        Contents { manifest, programs, weights, modules: None, tokenizer: Some(TOKENIZER) };
    let written = writer::write(contents, &mut bytes).expect("the sample is a valid plan");
    assert_eq!(written, bytes.len() as u64);
    bytes
}

/// The sections that a table of weights makes.
pub(crate) fn sizes(weights: &WeightTable<'_>) -> SectionSizes {
    SectionSizes { weights: weights.len(), modules: 0 }
}

/// Makes a linear of the step before the norm, which the norm's step multiplies on and names.
pub(crate) fn name_up(p: &mut Program) {
    let weight = p.weights[4].clone();
    let layout = Layout::RowMajor;
    p.weights.push(WeightSpec { shape: vec![4, 4], layout, bytes: 64, ..weight });
    let square = Operand::Weight(p.weights.len() as u32 - 1);
    let first = vec![view(0, 0, 4), square, Operand::Weight(2)];
    let epilogue = vec![UnaryFn::GeluErf];
    p.steps[2].kernel = Kernel::Linear { n: 4, k: 4, bias: true, epilogue: epilogue.clone() };
    let [x, residual, gamma, beta] = p.steps[3].operands[..] else { panic!("four operands") };
    p.steps[3].operands = [vec![x, square, residual, gamma, beta], first.clone()].concat();
    p.steps[2].operands = first;
    let up = Some(Up { k: 4, bias: true, epilogue });
    p.steps[3].kernel = Kernel::LinearLayerNorm { n: 4, k: 4, bias: false, eps: 1e-12, up };
}
