//! Why the program stops, and the exit code that says so.

use std::fmt;
use std::io;
use std::process::ExitCode;

use bytec_compiler::CompileError;
use bytec_compiler::code::CodeError;
use bytec_compiler::emit::EmitError;
use bytec_compiler::file::FileError;
use bytec_compiler::tune::TuneError;
use bytec_measure::MeterError;
use bytec_runtime::cuda::DriverError;
use bytec_runtime::{EngineError, RunError};

/// The sort of a failure; its number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Results that are not what they should be.
    Mismatch = 1,
    /// A file, flag, tensor or text that is not usable.
    BadInput = 2,
    /// The request is fine, and this machine can't.
    Machine = 3,
    /// A defect of bytec.
    Internal = 4,
}

/// A failure with its message.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    error: anyhow::Error,
}

impl Failure {
    /// Results that are not what they should be.
    pub(crate) fn mismatch(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Mismatch, error: error.into() }
    }

    /// Something that the user gave is not usable.
    pub(crate) fn bad_input(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::BadInput, error: error.into() }
    }

    /// This machine can't do it.
    pub(crate) fn machine(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Machine, error: error.into() }
    }

    /// A defect of bytec.
    pub(crate) fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Internal, error: error.into() }
    }

    /// A file named on the command line that can't be read.
    pub(crate) fn reading(path: &std::path::Path, error: &io::Error) -> Self {
        Self::bad_input(anyhow::anyhow!("can't read {}: {error}", path.display()))
    }

    /// JSON that could not be written: the output's fault, or a value that has no JSON form, which is a defect.
    pub(crate) fn json(error: serde_json::Error) -> Self {
        if error.is_io() { io::Error::from(error).into() } else { Self::internal(error) }
    }

    /// The same failure, with where it came to pass before its message.
    pub(crate) fn context(self, place: String) -> Self {
        Self { error: self.error.context(place), ..self }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }

    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut message = String::new();
        for cause in self.error.chain().map(ToString::to_string) {
            // Some errors end with their cause already.
            if !message.ends_with(&cause) {
                if !message.is_empty() {
                    message.push_str(": ");
                }
                message.push_str(&cause);
            }
        }
        f.write_str(&message)
    }
}

/// Standard output can't be written.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::machine(anyhow::Error::new(error).context("can't write the output"))
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        if error.out_of_space() { Self::machine(error) } else { Self::bad_input(error) }
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Fuse(_) => Self::internal(error),
            CompileError::Emit(error) => error.into(),
            CompileError::Threads { .. } | CompileError::Code(CodeError::Nvrtc(_)) => {
                Self::machine(error)
            }
            CompileError::Code(CodeError::Render(_)) => Self::bad_input(error),
            CompileError::Front(_) | CompileError::Pack(_) | CompileError::Schedule(_) => {
                Self::bad_input(error)
            }
        }
    }
}

impl From<TuneError> for Failure {
    fn from(error: TuneError) -> Self {
        match error {
            TuneError::Code(CodeError::Nvrtc(_)) => Self::machine(error),
            TuneError::Code(_) => Self::internal(error),
            _ => Self::bad_input(error),
        }
    }
}

impl From<EmitError> for Failure {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::File(error) => error.into(),
            EmitError::Weight(_) | EmitError::Fold(_) | EmitError::TooLarge { .. } => {
                Self::bad_input(error)
            }
            EmitError::Write(_) => Self::internal(error),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NoProgram { .. }
            | EngineError::NoDeviceProgram { .. }
            | EngineError::Driver(_)
            | EngineError::Threads { .. } => Self::machine(error),
            _ => Self::bad_input(error),
        }
    }
}

impl From<MeterError> for Failure {
    fn from(error: MeterError) -> Self {
        match error {
            MeterError::Run(error) => error.into(),
            _ => Self::machine(error),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::OutOfMemory { .. } | RunError::Device(DriverError::OutOfMemory { .. }) => {
                Self::machine(error)
            }
            RunError::Integer { .. }
            | RunError::TooManyRows { .. }
            | RunError::TooManyBlocks { .. } => Self::bad_input(error),
            _ => Self::internal(error),
        }
    }
}
