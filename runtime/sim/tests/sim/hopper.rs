//! A kernel around a body that uses what sm_90 brought, on all checks.

use bytec_sim::{Arg, Buffer, Chain, Device, Fault, FaultKind, Module};

/// Bytes of shared memory that a body finds at `%s`, aligned to 1024.
pub(crate) const SHARED: u64 = 32 * 1024;
/// Bytes of each of the two buffers.
pub(crate) const BYTES: u64 = 32 * 1024;

/// A launch of one block. The body finds `%in`, `%out`, `%map` (the tensor map, if there is one), `%s` (shared memory;
/// `%sa` as a 32-bit address), `%t` (thread), `%warp`, `%p0` (thread 0 of the block), `%p1` (lane 0 of its warp), and
/// registers `%r`, `%l`, `%f`, `%p4` and on.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) device: Device,
    pub(crate) input: Buffer,
    pub(crate) output: Buffer,
    /// What the body finds at `%map`.
    pub(crate) map: Vec<u8>,
    /// What the next launch may overlap with; cut before each, unless it is asked for.
    pub(crate) chain: Chain,
}

impl Block {
    pub(crate) fn new() -> Self {
        let mut device = Device::sm_90();
        let input = device.alloc("input", BYTES).expect("it is small");
        let output = device.alloc("output", BYTES).expect("it is small");
        let words: Vec<u8> = (0..BYTES as u32 / 4).flat_map(u32::to_le_bytes).collect();
        device.upload(input, 0, &words).expect("it fits");
        Self { device, input, output, map: vec![0; 128], chain: Chain::default() }
    }

    pub(crate) fn run(&mut self, body: &str, threads: u32) -> Result<(), Box<Fault>> {
        self.run_clusters(body, threads, "", 1)
    }

    /// A launch of one warp that overlaps with those before it.
    pub(crate) fn run_behind(&mut self, body: &str) -> Result<(), Box<Fault>> {
        let chain = std::mem::take(&mut self.chain);
        self.launch(chain, body, 32, "", 1)
    }

    /// Blocks of a kernel with directives of its own, as for clusters.
    pub(crate) fn run_clusters(
        &mut self,
        body: &str,
        threads: u32,
        directives: &str,
        blocks: u32,
    ) -> Result<(), Box<Fault>> {
        self.launch(Chain::default(), body, threads, directives, blocks)
    }

    fn launch(
        &mut self,
        mut chain: Chain,
        body: &str,
        threads: u32,
        directives: &str,
        blocks: u32,
    ) -> Result<(), Box<Fault>> {
        let text = format!(
            ".version 8.0\n.target sm_90a\n.address_size 64\n\
             .visible .entry k(.param .align 64 .b8 map[128], .param .u64 in, .param .u64 out)\n{directives}\n{{\n\
             .reg .b64 %in, %out, %s, %map, %own, %mine;\n.reg .b32 %t, %sa, %warp, %lane, %four;\n\
             .reg .b64 %l<16>;\n.reg .b32 %r<64>;\n.reg .f32 %f<130>;\n.reg .pred %p<8>;\n\
             .shared .align 1024 .b8 memory[{SHARED}];\n\
             ld.param.u64 %in, [in];\nld.param.u64 %out, [out];\nmov.b64 %map, map;\n\
             cvta.param.u64 %map, %map;\nmov.u32 %t, %tid.x;\nmov.u64 %s, memory;\nmov.u32 %sa, memory;\n\
             shr.u32 %warp, %t, 5;\nmov.u32 %lane, %laneid;\nsetp.eq.u32 %p0, %t, 0;\n\
             setp.eq.u32 %p1, %lane, 0;\nmul.lo.u32 %four, %t, 4;\ncvt.u64.u32 %l15, %four;\n\
             add.s64 %own, %s, %l15;\nadd.s64 %mine, %out, %l15;\n{body}\nret;\n}}\n"
        );
        let module = Module::parse(&text).unwrap_or_else(|error| panic!("{body}: {error}\n{text}"));
        let kernel = module.kernel("k").expect("it is there");
        let args = [
            Arg::Bytes(self.map.clone()),
            Arg::Pointer(self.input, 0),
            Arg::Pointer(self.output, 0),
        ];
        let shape = ([blocks, 1, 1], [threads, 1, 1]);
        let ran = self.device.launch_behind(&mut chain, kernel, shape, 0, &args);
        self.chain = chain;
        ran.map(|_| ())
    }
}

#[track_caller]
pub(crate) fn clean(body: &str, threads: u32) -> Block {
    let mut block = Block::new();
    if let Err(fault) = block.run(body, threads) {
        panic!("{body}: {fault}");
    }
    block
}

#[track_caller]
pub(crate) fn faulty(body: &str, threads: u32) -> FaultKind {
    Block::new().run(body, threads).expect_err(body).kind
}

/// Fails unless the fault says this.
#[track_caller]
pub(crate) fn says(body: &str, threads: u32, expected: &str) {
    let text = faulty(body, threads).to_string();
    assert!(text.contains(expected), "{body}: expected \"{expected}\", found \"{text}\"");
}
