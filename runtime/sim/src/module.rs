//! A parsed module and its kernels.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::decode::{self, Program};
use crate::parse::syntax::GlobalVar;
use crate::parse::{self, Param, ParseError};

/// Tells modules apart, so that a device keeps one set of global variables for each.
static NEXT_MODULE: AtomicU64 = AtomicU64::new(0);

/// What the kernels of a module share.
#[derive(Debug)]
pub(crate) struct ModuleData {
    pub(crate) number: u64,
    pub(crate) globals: Vec<GlobalVar>,
    pub(crate) constants: Vec<u8>,
}

/// A PTX module, ready to run.
#[derive(Debug)]
pub struct Module {
    version: (u32, u32),
    target: String,
    kernels: Vec<Kernel>,
}

impl Module {
    /// Parses and decodes a PTX text.
    ///
    /// # Errors
    /// The first thing that is malformed, unknown or not modelled, with its line.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let raw = parse::parse(text)?;
        let data = Arc::new(ModuleData {
            number: NEXT_MODULE.fetch_add(1, Ordering::Relaxed),
            globals: raw.globals,
            constants: raw.constants,
        });
        let files = Arc::new(raw.files);
        let kernels = raw
            .kernels
            .into_iter()
            .map(|kernel| {
                Ok(Kernel { program: decode::decode(kernel, &files)?, module: Arc::clone(&data) })
            })
            .collect::<Result<_, ParseError>>()?;
        Ok(Self { version: raw.version, target: raw.target, kernels })
    }

    /// The kernel of a name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name() == name)
    }

    /// All kernels, in the order of the text.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// The PTX version that the text declares.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The target that the text declares, such as `sm_80`.
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// One kernel of a module.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) program: Program,
    pub(crate) module: Arc<ModuleData>,
}

impl Kernel {
    /// Its name in the PTX.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Its parameters in order.
    pub fn params(&self) -> &[Param] {
        &self.program.params
    }

    /// Bytes of shared memory before the dynamic part.
    pub fn static_shared_bytes(&self) -> u32 {
        self.program.dynamic_at
    }

    /// How many instructions it has.
    pub fn instructions(&self) -> usize {
        self.program.code.len()
    }
}
