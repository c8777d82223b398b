//! PTX text to kernels: directives of the module here, function bodies in `body`.
//!
//! The grammar is the part of the PTX ISA that NVRTC 12.9 to 13.5 emits. What is not known is an
//! error with its line; nothing is skipped but comments, debug sections and performance hints.

mod body;
mod cursor;
mod declare;
mod error;
mod lex;
mod operand;
pub(crate) mod syntax;

use std::collections::BTreeMap;

pub use error::{ParseError, ParseErrorKind};
pub use syntax::Param;

use cursor::Cursor;
use lex::Token;
use syntax::{Entity, GlobalVar, RawKernel, Scope, VarSpace};

/// Bytes of constant memory that a module may declare (64 KiB a bank on every GPU so far).
const CONST_LIMIT: u64 = 64 * 1024;
/// Bytes of global variables that a module may declare.
const GLOBAL_LIMIT: u64 = 64 * 1024 * 1024;

/// A module as written.
#[derive(Debug, Default)]
pub(crate) struct RawModule<'a> {
    pub(crate) version: (u32, u32),
    pub(crate) target: String,
    pub(crate) files: BTreeMap<u32, String>,
    pub(crate) globals: Vec<GlobalVar>,
    pub(crate) constants: Vec<u8>,
    pub(crate) kernels: Vec<RawKernel<'a>>,
}

/// Parses a whole text.
pub(crate) fn parse(text: &str) -> Result<RawModule<'_>, ParseError> {
    let mut parser = ModuleParser {
        cursor: Cursor::new(lex::lex(text)?),
        module: RawModule::default(),
        names: Scope::default(),
        dynamic_align: 0,
    };
    parser.header()?;
    while parser.cursor.peek().is_some() {
        parser.item()?;
    }
    Ok(parser.module)
}

struct ModuleParser<'a> {
    cursor: Cursor<'a>,
    module: RawModule<'a>,
    /// Names of the module: variables that every kernel sees.
    names: Scope<'a>,
    /// Alignment of the module's dynamic shared memory, 0 without any.
    dynamic_align: u64,
}

impl<'a> ModuleParser<'a> {
    fn header(&mut self) -> Result<(), ParseError> {
        if !self.cursor.eat_word(".version") {
            return Err(self.cursor.unexpected("`.version` as the first directive"));
        }
        let Some(Token::Number(text)) = self.cursor.peek() else {
            return Err(self.cursor.unexpected("a version such as 9.0"));
        };
        let wrong = self.cursor.error(ParseErrorKind::Number(text.to_owned()));
        let parts = text.split_once('.').and_then(|(major, minor)| {
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        let Some(version) = parts else { return Err(wrong) };
        if !(6..=9).contains(&version.0) {
            return Err(self.cursor.unexpected("a version from 6.0 to 9.x"));
        }
        self.cursor.next();
        self.module.version = version;
        if !self.cursor.eat_word(".target") {
            return Err(self.cursor.unexpected("`.target`"));
        }
        self.module.target = self.cursor.word("a target such as sm_80")?.to_owned();
        while self.cursor.eat(',') {
            self.cursor.word("a target option")?;
        }
        if self.cursor.eat_word(".address_size") {
            let size = self.cursor.small("64")?;
            if size != 64 {
                return Err(self.cursor.error(ParseErrorKind::Number(size.to_string())));
            }
        }
        Ok(())
    }

    fn item(&mut self) -> Result<(), ParseError> {
        // Linkage says who may see a name; here everything is in one text.
        while [".visible", ".extern", ".weak", ".common"]
            .iter()
            .any(|linkage| self.cursor.eat_word(linkage))
        {}
        let word = self.cursor.word("a directive")?;
        match word {
            ".entry" => {
                let kernel = body::kernel(&mut self.cursor, &self.names, self.dynamic_align)?;
                if self.module.kernels.iter().any(|other| other.name == kernel.name) {
                    let name = kernel.name.to_owned();
                    return Err(self.cursor.error(ParseErrorKind::Redeclared(name)));
                }
                self.module.kernels.push(kernel);
                Ok(())
            }
            ".global" | ".const" => self.variable(word == ".const"),
            ".shared" => self.dynamic_shared(),
            ".file" => self.file(),
            ".section" => self.section(),
            ".pragma" => {
                self.cursor.next();
                self.cursor.expect(';')
            }
            _ => Err(self.cursor.error(ParseErrorKind::Directive(word.to_owned()))),
        }
    }

    fn variable(&mut self, constant: bool) -> Result<(), ParseError> {
        let variable = declare::variable(&mut self.cursor)?;
        let init = declare::initial(&mut self.cursor, &variable)?;
        self.cursor.expect(';')?;
        let limit = if constant { CONST_LIMIT } else { GLOBAL_LIMIT };
        let (space, offset) = if constant {
            let start = (self.module.constants.len() as u64).next_multiple_of(variable.align);
            declare::limit(&self.cursor, "constant memory", start + variable.bytes, limit)?;
            self.module.constants.resize((start + variable.bytes) as usize, 0);
            self.module.constants[start as usize..][..init.len()].copy_from_slice(&init);
            (VarSpace::Const, start)
        } else {
            let before: u64 = self.module.globals.iter().map(|global| global.bytes).sum();
            declare::limit(&self.cursor, "global variables", before + variable.bytes, limit)?;
            self.module.globals.push(GlobalVar {
                name: variable.name.to_owned(),
                bytes: variable.bytes,
                init,
            });
            (VarSpace::Global, self.module.globals.len() as u64 - 1)
        };
        self.name(variable.name, Entity::Variable { space, offset })
    }

    fn name(&mut self, name: &'a str, entity: Entity) -> Result<(), ParseError> {
        match self.names.names.insert(name, entity) {
            None => Ok(()),
            Some(_) => Err(self.cursor.error(ParseErrorKind::Redeclared(name.to_owned()))),
        }
    }

    fn dynamic_shared(&mut self) -> Result<(), ParseError> {
        let variable = declare::variable(&mut self.cursor)?;
        self.cursor.expect(';')?;
        if !variable.unsized_array {
            return Err(self.cursor.error(ParseErrorKind::Unexpected {
                expected: "shared memory of fixed size inside its kernel".to_owned(),
                found: format!("`{}` in the module", variable.name),
            }));
        }
        self.dynamic_align = self.dynamic_align.max(variable.align);
        let entity = Entity::Variable { space: VarSpace::SharedDynamic, offset: 0 };
        self.name(variable.name, entity)
    }

    fn file(&mut self) -> Result<(), ParseError> {
        let index = self.cursor.small("a file number")?;
        let Some(Token::Text(name)) = self.cursor.peek() else {
            return Err(self.cursor.unexpected("a file name in quotes"));
        };
        self.cursor.next();
        // A timestamp and a size may follow.
        while self.cursor.eat(',') {
            self.cursor.unsigned("a number")?;
        }
        self.module.files.insert(index, name.to_owned());
        Ok(())
    }

    /// Debug sections carry names for `.loc`; the simulator names files and lines only.
    fn section(&mut self) -> Result<(), ParseError> {
        self.cursor.word("a section name")?;
        self.cursor.expect('{')?;
        while !self.cursor.eat('}') {
            if self.cursor.next().is_none() {
                return Err(self.cursor.unexpected("`}` at the end of the section"));
            }
        }
        Ok(())
    }
}
