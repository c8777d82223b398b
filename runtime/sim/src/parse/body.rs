//! A kernel: its parameters, launch bounds, declarations, labels and statements.

use super::cursor::Cursor;
use super::declare;
use super::error::{ParseError, ParseErrorKind};
use super::lex::Token;
use super::operand::operand;
use super::syntax::{Entity, File, Operand, Param, RawKernel, Scope, Statement, VarSpace};
use crate::inst::Ty;

/// Registers that a kernel may declare in one file.
const REGISTER_LIMIT: u64 = 1 << 16;
/// Bytes of parameters (the limit since PTX 8.1).
const PARAM_LIMIT: u64 = 32_764;
/// Bytes of shared memory that a declaration may ask for; launches have a lower limit.
const SHARED_LIMIT: u64 = 1 << 20;
/// Bytes of local memory a thread.
const LOCAL_LIMIT: u64 = 512 * 1024;

/// Reads a kernel, `.entry` already taken.
pub(crate) fn kernel<'a>(
    cursor: &mut Cursor<'a>,
    module: &Scope<'a>,
    dynamic_align: u64,
) -> Result<RawKernel<'a>, ParseError> {
    let name = cursor.word("a kernel's name")?;
    let names = module.names.clone();
    let kernel = RawKernel {
        name,
        params: Vec::new(),
        param_bytes: 0,
        required_threads: None,
        max_threads: None,
        cluster: [1; 3],
        scopes: vec![
            Scope { parent: None, names, ..Scope::default() },
            Scope { parent: Some(0), ..Scope::default() },
        ],
        statements: Vec::new(),
        places: Vec::new(),
        narrow: 0,
        wide: 0,
        preds: 0,
        shared_bytes: 0,
        dynamic_align,
        local_bytes: 0,
    };
    let mut parser = BodyParser { cursor, kernel, scope: 1, place: None };
    parser.params()?;
    parser.bounds()?;
    parser.body()?;
    Ok(parser.kernel)
}

struct BodyParser<'a, 'c> {
    cursor: &'c mut Cursor<'a>,
    kernel: RawKernel<'a>,
    scope: usize,
    place: Option<u32>,
}

impl<'a> BodyParser<'a, '_> {
    fn params(&mut self) -> Result<(), ParseError> {
        if !self.cursor.eat('(') || self.cursor.eat(')') {
            return Ok(());
        }
        let mut end = 0;
        loop {
            if !self.cursor.eat_word(".param") {
                return Err(self.cursor.unexpected("`.param`"));
            }
            let variable = self.param()?;
            let offset = u64::next_multiple_of(end, variable.align);
            end = offset + variable.bytes;
            declare::limit(self.cursor, "the parameters", end, PARAM_LIMIT)?;
            self.kernel.params.push(Param {
                name: variable.name.to_owned(),
                offset: offset as u32,
                bytes: variable.bytes as u32,
            });
            self.name(variable.name, Entity::Variable { space: VarSpace::Param, offset })?;
            if self.cursor.eat(')') {
                break;
            }
            self.cursor.expect(',')?;
        }
        self.kernel.param_bytes = end as u32;
        Ok(())
    }

    /// `.param .u64 .ptr .global .align 1 name`: what it points at is a hint.
    fn param(&mut self) -> Result<declare::Variable<'a>, ParseError> {
        if !matches!(self.cursor.peek_second(), Some(Token::Word(".ptr"))) {
            return declare::variable(self.cursor);
        }
        let ty = declare::ty(self.cursor)?;
        self.cursor.next();
        for space in [".global", ".shared", ".const", ".local"] {
            self.cursor.eat_word(space);
        }
        if self.cursor.eat_word(".align") {
            self.cursor.unsigned("an alignment")?;
        }
        let name = self.cursor.word("a parameter's name")?;
        let bytes = ty.bytes();
        Ok(declare::Variable { name, ty, align: bytes.max(1), bytes, unsized_array: false })
    }

    fn bounds(&mut self) -> Result<(), ParseError> {
        loop {
            match self.cursor.peek() {
                Some(Token::Punct('{')) => return Ok(()),
                Some(Token::Word(word)) => {
                    self.cursor.next();
                    let mut values = [1; 3];
                    if !matches!(word, ".pragma" | ".explicitcluster") {
                        values[0] = self.cursor.small("a number")?;
                        for value in &mut values[1..] {
                            if self.cursor.eat(',') {
                                *value = self.cursor.small("a number")?;
                            }
                        }
                    }
                    match word {
                        ".maxntid" => {
                            let threads = values.iter().fold(1, |a: u32, b| a.saturating_mul(*b));
                            self.kernel.max_threads = Some(threads);
                        }
                        ".reqntid" => self.kernel.required_threads = Some(values),
                        ".reqnctapercluster" => self.kernel.cluster = values,
                        // Register allocation is ptxas' business.
                        ".minnctapersm" | ".maxnctapersm" | ".maxnreg" => {}
                        // What clusters may be is known from what they must be.
                        ".explicitcluster" | ".maxclusterrank" => {}
                        ".pragma" => {
                            self.cursor.next();
                            self.cursor.expect(';')?;
                        }
                        _ => {
                            let kind = ParseErrorKind::Directive(word.to_owned());
                            return Err(self.cursor.error(kind));
                        }
                    }
                }
                _ => return Err(self.cursor.unexpected("the kernel's body")),
            }
        }
    }

    fn body(&mut self) -> Result<(), ParseError> {
        self.cursor.expect('{')?;
        let mut depth = 1;
        while depth > 0 {
            match self.cursor.peek() {
                Some(Token::Punct('{')) => {
                    self.cursor.next();
                    self.kernel.scopes.push(Scope { parent: Some(self.scope), ..Scope::default() });
                    self.scope = self.kernel.scopes.len() - 1;
                    depth += 1;
                }
                Some(Token::Punct('}')) => {
                    self.cursor.next();
                    self.scope = self.kernel.scopes[self.scope].parent.unwrap_or(0);
                    depth -= 1;
                }
                Some(Token::Punct(';')) => {
                    self.cursor.next();
                }
                Some(Token::Punct('@')) => self.instruction()?,
                Some(Token::Word(word)) if word.starts_with('.') => self.directive(word)?,
                Some(Token::Word(word)) if self.cursor.peek_second() == Some(Token::Punct(':')) => {
                    let pc = self.kernel.statements.len() as u32;
                    self.name(word, Entity::Label { pc })?;
                    self.cursor.next();
                    self.cursor.next();
                }
                Some(Token::Word(_)) => self.instruction()?,
                _ => return Err(self.cursor.unexpected("an instruction, a label or `}`")),
            }
        }
        Ok(())
    }

    fn directive(&mut self, word: &str) -> Result<(), ParseError> {
        let unknown = self.cursor.error(ParseErrorKind::Directive(word.to_owned()));
        self.cursor.next();
        match word {
            ".reg" => self.registers(),
            ".shared" => {
                let variable = declare::variable(self.cursor)?;
                let start = self.kernel.shared_bytes.next_multiple_of(variable.align);
                self.kernel.shared_bytes = start + variable.bytes;
                let total = self.kernel.shared_bytes;
                declare::limit(self.cursor, "shared memory", total, SHARED_LIMIT)?;
                self.cursor.expect(';')?;
                let entity = Entity::Variable { space: VarSpace::Shared, offset: start };
                self.name(variable.name, entity)
            }
            ".local" => {
                let variable = declare::variable(self.cursor)?;
                let start = self.kernel.local_bytes.next_multiple_of(variable.align);
                self.kernel.local_bytes = start + variable.bytes;
                let total = self.kernel.local_bytes;
                declare::limit(self.cursor, "local memory", total, LOCAL_LIMIT)?;
                self.cursor.expect(';')?;
                let entity = Entity::Variable { space: VarSpace::Local, offset: start };
                self.name(variable.name, entity)
            }
            ".loc" => self.place(),
            ".pragma" => {
                self.cursor.next();
                self.cursor.expect(';')
            }
            _ => Err(unknown),
        }
    }

    /// `.reg .b32 %r<9>, other;`
    fn registers(&mut self) -> Result<(), ParseError> {
        let ty = declare::ty(self.cursor)?;
        loop {
            let name = self.cursor.word("a register's name")?;
            let mut count = None;
            if self.cursor.eat('<') {
                count = Some(self.cursor.unsigned("how many registers")?);
                self.cursor.expect('>')?;
            }
            let Some(file) = ty.file() else {
                return Err(self.cursor.error(ParseErrorKind::Instruction {
                    opcode: ".reg".to_owned(),
                    reason: format!("registers of type .{ty} are not modelled"),
                }));
            };
            let used = match file {
                File::Pred => &mut self.kernel.preds,
                File::Narrow => &mut self.kernel.narrow,
                File::Wide => &mut self.kernel.wide,
            };
            let total = u64::from(*used).saturating_add(count.unwrap_or(1));
            declare::limit(self.cursor, "one register file", total, REGISTER_LIMIT)?;
            let first = *used;
            *used = total as u32;
            match count {
                None => self.name(name, Entity::Register { file, index: first, ty })?,
                Some(count) => self.family(name, count as u32, file, first, ty)?,
            }
            if self.cursor.eat(';') {
                return Ok(());
            }
            self.cursor.expect(',')?;
        }
    }

    /// Names `%r0`, `%r1`, .. share one entry, under the name with `<`.
    fn family(
        &mut self,
        name: &'a str,
        count: u32,
        file: File,
        first: u32,
        ty: Ty,
    ) -> Result<(), ParseError> {
        let families = &mut self.kernel.scopes[self.scope].families;
        match families.insert(name, (count, Entity::Register { file, index: first, ty })) {
            None => Ok(()),
            Some(_) => Err(self.cursor.error(ParseErrorKind::Redeclared(format!("{name}<>")))),
        }
    }

    /// `.loc file line column[, function_name label[+offset], inlined_at file line column]`
    fn place(&mut self) -> Result<(), ParseError> {
        let place = (self.cursor.small("a file number")?, self.cursor.small("a line")?);
        self.cursor.small("a column")?;
        while self.cursor.eat(',') {
            match self.cursor.word("`function_name` or `inlined_at`")? {
                "function_name" => {
                    self.cursor.word("a label")?;
                    if self.cursor.eat('+') {
                        self.cursor.unsigned("an offset")?;
                    }
                }
                "inlined_at" => {
                    for what in ["a file number", "a line", "a column"] {
                        self.cursor.small(what)?;
                    }
                }
                _ => return Err(self.cursor.unexpected("`function_name` or `inlined_at`")),
            }
        }
        if self.kernel.places.last() != Some(&place) {
            self.kernel.places.push(place);
        }
        self.place = Some(self.kernel.places.len() as u32 - 1);
        Ok(())
    }

    fn instruction(&mut self) -> Result<(), ParseError> {
        let line = self.cursor.line();
        let mut guard = None;
        if self.cursor.eat('@') {
            let negated = self.cursor.eat('!');
            guard = Some((self.cursor.word("a predicate")?, negated));
        }
        let opcode = self.cursor.word("an opcode")?;
        let mut operands = Vec::new();
        while !self.cursor.eat(';') {
            if !operands.is_empty() {
                self.cursor.expect(',')?;
            }
            operands.push(self.operand(opcode)?);
        }
        let scope = self.scope;
        let place = self.place;
        self.kernel.statements.push(Statement { line, scope, place, guard, opcode, operands });
        Ok(())
    }

    fn operand(&mut self, opcode: &str) -> Result<Operand<'a>, ParseError> {
        if self.cursor.peek() == Some(Token::Punct('(')) {
            return Err(self.cursor.error(ParseErrorKind::Instruction {
                opcode: opcode.to_owned(),
                reason: "calls are not modelled; kernels inline their functions".to_owned(),
            }));
        }
        operand(self.cursor)
    }

    fn name(&mut self, name: &'a str, entity: Entity) -> Result<(), ParseError> {
        match self.kernel.scopes[self.scope].names.insert(name, entity) {
            None => Ok(()),
            Some(_) => Err(self.cursor.error(ParseErrorKind::Redeclared(name.to_owned()))),
        }
    }
}
