//! What can be wrong with a PTX text.

/// A PTX text that can't be run, with the line that says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {kind}")]
pub struct ParseError {
    /// Line of the text, from 1.
    pub line: u32,
    /// What is wrong there.
    pub kind: ParseErrorKind,
}

impl ParseError {
    pub(crate) fn new(line: u32, kind: ParseErrorKind) -> Self {
        Self { line, kind }
    }
}

/// The ways in which a PTX text can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// A character that begins no token.
    #[error("character {0:?} begins no PTX token")]
    Character(char),
    /// A comment or a string without its end.
    #[error("{0} has no end")]
    Unterminated(&'static str),
    /// Another token was expected.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What the grammar wants here.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A number that is malformed or does not fit.
    #[error("{0} is not a number that fits here")]
    Number(String),
    /// A directive that the simulator does not know.
    #[error("unknown directive {0}")]
    Directive(String),
    /// An instruction, or a form of one, that the simulator does not execute.
    #[error("the simulator does not execute `{opcode}`: {reason}")]
    Instruction {
        /// The opcode with its modifiers.
        opcode: String,
        /// Which part of it is unknown or unsupported.
        reason: String,
    },
    /// An operand of a kind or width that the instruction does not take.
    #[error("`{opcode}`: operand {index} should be {expected}, found {found}")]
    Operand {
        /// The opcode with its modifiers.
        opcode: String,
        /// Which operand, from 0.
        index: usize,
        /// What the instruction takes.
        expected: String,
        /// What is written.
        found: String,
    },
    /// Too few or too many operands.
    #[error("`{opcode}` takes {expected} operands, found {found}")]
    OperandCount {
        /// The opcode with its modifiers.
        opcode: String,
        /// How many it takes.
        expected: String,
        /// How many are written.
        found: usize,
    },
    /// A name that nothing declares.
    #[error("{0} is not declared")]
    Undeclared(String),
    /// A name declared twice in one scope.
    #[error("{0} is declared twice in one scope")]
    Redeclared(String),
    /// A declaration that is too large to be meant.
    #[error("{what} takes {found}, more than the limit of {limit}")]
    TooLarge {
        /// What is declared.
        what: String,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
}
