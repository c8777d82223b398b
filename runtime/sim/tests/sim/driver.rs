//! Plans on the simulated device, through the runtime.

use std::error::Error;
use std::sync::Arc;

use bytec_plan::device::{Arg, Count, DeviceCode, Image, Launch, ModuleSpec, Of};
use bytec_plan::extent::{Extent, Rows};
use bytec_plan::kernel::Kernel;
use bytec_plan::manifest::Manifest;
use bytec_plan::program::{
    Buffer, DType, InputSpec, Need, Operand, OutputSpec, Program, Slot, Step, SymbolSpec, View,
};
use bytec_plan::weights::{Placement, WeightTable};
use bytec_plan::writer::{Contents, write};
use bytec_runtime::{
    Elements, Engine, EngineOptions, PackedBatch, RunError, Sample, SessionOptions,
};
use bytec_sim::SimDriver;

const WIDTH: u64 = 4;
const L: Rows = Rows::Ragged(0);

/// A kernel that doubles the element `ahead` bytes after its own, and stores it if `stores`.
pub(crate) fn kernel(ahead: u32, stores: bool) -> String {
    let store = if stores { "st.global.f32 [%rd5], %f2;" } else { "" };
    format!(
        "
.version 8.0
.target sm_80
.address_size 64
.visible .entry kernel(.param .u64 out, .param .u64 x, .param .u64 rows)
{{
    .reg .pred %p<2>;
    .reg .b32 %r<7>;
    .reg .f32 %f<3>;
    .reg .b64 %rd<7>;
    ld.param.u64 %rd1, [out];
    ld.param.u64 %rd2, [x];
    ld.param.u64 %rd3, [rows];
    ld.global.u32 %r1, [%rd3];
    shl.b32 %r2, %r1, 2;
    mov.u32 %r3, %ctaid.x;
    mov.u32 %r4, %ntid.x;
    mov.u32 %r5, %tid.x;
    mad.lo.s32 %r6, %r3, %r4, %r5;
    setp.ge.s32 %p1, %r6, %r2;
    @%p1 bra $end;
    mul.wide.s32 %rd4, %r6, 4;
    add.s64 %rd5, %rd1, %rd4;
    add.s64 %rd6, %rd2, %rd4;
    ld.global.f32 %f1, [%rd6+{ahead}];
    add.f32 %f2, %f1, %f1;
    {store}
$end:
    ret;
}}
"
    )
}

/// The plan of a program that runs two such kernels, one after the other.
fn plan(kernels: [String; 2]) -> Vec<u8> {
    let mut modules = WeightTable::new();
    let module = |ptx: String| {
        let Placement { offset, bytes, hash } = modules.add(ptx.into_bytes());
        let ptx = Some(Image { offset, bytes, hash });
        ModuleSpec { symbol: "kernel".to_owned(), cubin: None, ptx, registers: 8, static_shared: 0 }
    };
    let code = DeviceCode {
        arch: "compute_80".to_owned(),
        modules: kernels.into_iter().map(module).collect(),
        launches: (0..2)
            .map(|module| Launch {
                module,
                grid: [Count::Rows { per: 8 }, Count::Fixed(1), Count::Fixed(1)],
                block: 32,
                shared: 0,
                overlaps: false,
                args: vec![Arg::Output, Arg::Operand(0), Arg::Rows(Of::Output)],
            })
            .collect(),
        by_rows: Vec::new(),
    };
    let buffer = |slot, name: &str| Buffer { name: name.to_owned(), rows: L, width: WIDTH, slot };
    let step = |output, name: &str, operand| Step {
        name: name.to_owned(),
        inner: Vec::new(),
        kernel: Kernel::Softmax { width: WIDTH as u32 },
        operands: vec![operand],
        output,
        reason: "test".to_owned(),
    };
    let shape = vec![Extent::Symbol(0), Extent::Fixed(WIDTH)];
    let slot = Slot { needs: vec![Need { rows: L, bytes_per_row: WIDTH * 4 }] };
    let first = Operand::View(View { buffer: 0, column: 0, width: WIDTH });
    let program = Program {
        entry: "forward".to_owned(),
        target: "sm_80".to_owned(),
        dtype: DType::F32,
        symbols: vec![SymbolSpec { name: "L".to_owned(), min: 1, max: 4096 }],
        extents: vec![Extent::Symbol(0)],
        inputs: vec![InputSpec {
            name: "x".to_owned(),
            dtype: DType::F32,
            shape: shape.clone(),
            rows: L,
            width: WIDTH,
            default: None,
            below: None,
        }],
        outputs: vec![OutputSpec { name: "out".to_owned(), shape, buffer: 1 }],
        weights: vec![],
        buffers: vec![buffer(0, "doubled"), buffer(1, "again")],
        slots: vec![slot.clone(), slot],
        steps: vec![step(0, "doubled", Operand::Input(0)), step(1, "again", first)],
        device: Some(code),
    };
    let contents = Contents {
        manifest: &Manifest::default(),
        programs: &[program],
        weights: &WeightTable::new(),
        modules: Some(&modules),
        tokenizer: None,
    };
    let mut bytes = Vec::new();
    write(contents, &mut bytes).expect("memory takes all bytes");
    bytes
}

/// Runs samples of these lengths, of which `x` counts up through the batch; gives their outputs.
fn run(
    driver: &Arc<SimDriver>,
    plan: &[u8],
    batches: &[&[u64]],
    graphs: bool,
) -> Result<Vec<Vec<f32>>, RunError> {
    let engine = Engine::from_bytes_with_driver(plan, driver.clone(), EngineOptions::default());
    let engine = engine.expect("the plan is good");
    let mut session = engine.session_with(SessionOptions { poison: true, graphs });
    let mut all = Vec::new();
    for lengths in batches {
        let mut batch = PackedBatch::new(&engine);
        let mut next = 0;
        for length in *lengths {
            let x: Vec<_> = (next..next + length * WIDTH).map(|x| x as f32).collect();
            let shape = [*length, WIDTH];
            batch
                .push(&Sample::new().with("x", &shape, Elements::F32(&x)))
                .expect("the sample fits");
            next += length * WIDTH;
        }
        let outputs = session.run(&batch)?;
        let out = outputs.get("out").expect("the program gives `out`");
        all.push((0..lengths.len()).filter_map(|i| out.sample(i)).flatten().copied().collect());
    }
    Ok(all)
}

/// What the device said of a run that it ended.
fn fault(kernels: [String; 2], batches: &[&[u64]]) -> String {
    let plan = plan(kernels);
    let [text, by_graph] = [false, true].map(|graphs| {
        let error = run(&Arc::new(SimDriver::sm_80()), &plan, batches, graphs);
        let error = error.expect_err("the device finds the fault");
        error.source().expect("the driver says why").to_string()
    });
    assert_eq!(text, by_graph);
    text
}

#[test]
fn a_plan_runs_and_is_counted() {
    // Batches of several size classes, down as well as up; each finds the last one's leavings.
    let batches: [&[u64]; 5] = [&[3, 1, 29], &[64, 65], &[7], &[33, 100], &[1, 30, 3]];
    let plan = plan([kernel(0, true), kernel(0, true)]);
    for graphs in [false, true] {
        let driver = Arc::new(SimDriver::sm_80());
        for (out, lengths) in run(&driver, &plan, &batches, graphs).unwrap().iter().zip(batches) {
            let expected: Vec<_> =
                (0..lengths.iter().sum::<u64>() * 4).map(|x| x as f32 * 4.0).collect();
            assert_eq!(*out, expected);
        }
        let profiles = driver.take_profiles();
        let names: Vec<_> =
            profiles.iter().map(|p| (p.step.as_str(), p.kernel.as_str(), p.launches)).collect();
        assert_eq!(names, [("doubled", "kernel", 5), ("again", "kernel", 5)]);
        let elements = (33 + 129 + 7 + 133 + 34) * WIDTH;
        assert_eq!(profiles[0].profile.global_writes.bytes, elements * 4);
        assert_eq!(driver.take_profiles(), []);
    }
}

#[test]
fn a_value_that_was_never_written_is_named() {
    let text = fault([kernel(0, false), kernel(0, true)], &[&[33]]);
    assert!(text.contains("run step `again`"), "{text}");
    assert!(text.contains("never written") && text.contains("holds `doubled`"), "{text}");
    // Neither may an output be given out that nothing wrote.
    let driver = Arc::new(SimDriver::sm_80());
    let error =
        run(&driver, &plan([kernel(0, true), kernel(0, false)]), &[&[5]], true).unwrap_err();
    let text = error.source().unwrap().to_string();
    assert!(text.starts_with("can't download 80 bytes: slot 1: "), "{text}");
}

#[test]
fn rows_past_the_end_must_not_count() {
    // 33 rows have room for 36: the last row takes on what lies past it.
    let text = fault([kernel(0, true), kernel(16, true)], &[&[33]]);
    assert!(text.contains("a value that depends on a marked range"), "{text}");
    // 32 rows have room for 32.
    let text = fault([kernel(0, true), kernel(16, true)], &[&[32]]);
    assert!(text.contains("outside of the memory") && text.contains("slot 0+512"), "{text}");
}

#[test]
fn a_kernel_without_ptx_or_of_another_name_is_refused() {
    let open = |text: &str| {
        let plan = plan([text.to_owned(), kernel(0, true)]);
        let driver = Arc::new(SimDriver::sm_80());
        let engine = Engine::from_bytes_with_driver(&plan, driver, EngineOptions::default());
        engine.unwrap_err().source().unwrap().to_string()
    };
    let text = open("this is no PTX");
    assert!(text.starts_with("can't load kernel `kernel`: "), "{text}");
    let text = open(&kernel(0, true).replace("entry kernel(", "entry other("));
    assert_eq!(text, "can't load kernel `kernel`: its PTX has no kernel of this name");
}
