//! Whether a mutant is equivalent: the kernel beside a shadow of it that has the mutant's statement.
//!
//! Every register has a shadow, and every statement of arithmetic is there twice: once on the registers, and once on the
//! shadows, where the mutant's text stands in the place of the statement's own. Before a statement with an effect, the
//! shadows of all that it reads must be the registers' own bits: the predicate of a branch, the address of an access,
//! the value of a store, and a float before it is rounded to fewer bits. The first difference traps. What a load brings
//! goes to both.

use super::mutate::{Mutant, Statement};

/// The text, or `None` if the mutant's statement has an effect itself that changes.
pub(crate) fn beside(ptx: &str, mutant: &Mutant) -> Option<String> {
    let mut text = String::new();
    let mut declared = false;
    for (number, line) in ptx.lines().enumerate() {
        let trimmed = line.trim();
        if let Some((declaration, name)) =
            trimmed.strip_prefix(".reg").and_then(|rest| rest.split_once('%'))
        {
            if !declared {
                text += ".reg .pred %differ;\n.reg .b32 %bits, %zbits;\n";
                declared = true;
            }
            text += &format!("{line}\n.reg{declaration}%z{name}\n");
            continue;
        }
        if number + 1 == mutant.line {
            text += &mutated(line, &mutant.text)?;
        } else {
            match Statement::parse(line) {
                Some(own) => text += &doubled(&own, line)?,
                None if trimmed.contains('%') && !trimmed.starts_with(['.', '/']) => return None,
                None => text += line,
            }
        }
        text.push('\n');
    }
    Some(text)
}

/// The mutant's statement on the shadows, and its own on the registers.
fn mutated(line: &str, mutant: &str) -> Option<String> {
    let own = Statement::parse(line)?;
    let other = Statement::parse(mutant)?;
    if own.op == "bra" {
        // A branch that is always taken.
        let predicate = own.guard.strip_prefix('@').filter(|_| other.guard.is_empty())?;
        let skipped = match predicate.strip_prefix('!') {
            Some(predicate) => predicate.to_owned(),
            None => format!("!{predicate}"),
        };
        return Some(format!("{}@{skipped} trap;\n{line}", same(&registers(own.guard))));
    }
    if effect(&own).is_some() || effect(&other).is_some() {
        return None;
    }
    Some(format!("{}\n{line}", shadowed(mutant)))
}

/// What a statement's effect depends on, and what it writes; `None` if it has none.
fn effect(own: &Statement<'_>) -> Option<(Vec<String>, Vec<String>)> {
    let op = own.op;
    let narrowing = op.starts_with("cvt")
        && [".f16.f32", ".f16x2.f32", ".bf16.f32", ".bf16x2.f32"]
            .iter()
            .any(|kind| op.ends_with(kind));
    let all = registers(own.rest);
    if op.starts_with("ld.") || op.starts_with("ldmatrix") || narrowing {
        let (written, read) = own.rest.split_once(if narrowing { "," } else { "[" })?;
        return Some((registers(read), registers(written)));
    }
    if op.starts_with("wgmma.mma_async") {
        let (sums, _) = own.rest.split_once('}')?;
        return Some((all, registers(sums)));
    }
    let effects = [
        "st.",
        "bra",
        "bar",
        "cp.async",
        "ret",
        "exit",
        "trap",
        "atom",
        "red.",
        "mbarrier.",
        "fence.",
        "wgmma.",
        "setmaxnreg",
        "prefetch",
        "griddepcontrol",
    ];
    effects.iter().any(|start| op.starts_with(start)).then_some((all, Vec::new()))
}

/// A statement for both, or after a look at what its effect depends on.
fn doubled(own: &Statement<'_>, line: &str) -> Option<String> {
    let Some((read, written)) = effect(own) else {
        return Some(format!("{}\n{line}", shadowed(line)));
    };
    let guard = registers(own.guard);
    // A guarded effect's operands may differ where it has none.
    if !guard.is_empty() && own.op != "bra" {
        return None;
    }
    let mut text = same(&guard) + &same(&read) + line;
    for register in written {
        let kind = match kind(&register)? {
            "s16" => "b16",
            "s64" => "b64",
            "f32" => "f32",
            _ => "b32",
        };
        text += &format!("\nmov.{kind} {}, {register};", shadow(&register));
    }
    Some(text)
}

/// Traps where a register and its shadow differ.
fn same(registers: &[String]) -> String {
    let each = registers.iter().map(|register| {
        let shadow = shadow(register);
        let compare = match kind(register) {
            Some("pred") => format!("xor.pred %differ, {register}, {shadow};"),
            Some("f32") => format!(
                "mov.b32 %bits, {register};\nmov.b32 %zbits, {shadow};\nsetp.ne.s32 %differ, %bits, %zbits;"
            ),
            kind => format!("setp.ne.{} %differ, {register}, {shadow};", kind.unwrap_or("s32")),
        };
        format!("{compare}\n@%differ trap;\n")
    });
    each.collect()
}

/// How a register is compared.
fn kind(register: &str) -> Option<&'static str> {
    let kinds = [("%p", "pred"), ("%rs", "s16"), ("%rd", "s64"), ("%r", "s32"), ("%f", "f32")];
    let digits = |rest: &str| rest.chars().all(|digit| digit.is_ascii_digit());
    kinds
        .iter()
        .find(|(start, _)| register.strip_prefix(start).is_some_and(digits))
        .map(|(_, kind)| *kind)
}

/// The registers of a text that have shadows, in order.
fn registers(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "%._$".contains(c)));
    words.filter(|word| kind(word).is_some()).map(str::to_owned).collect()
}

fn shadow(register: &str) -> String {
    register.replacen('%', "%z", 1)
}

/// A text on the shadows.
fn shadowed(text: &str) -> String {
    let mut rest = text;
    let mut shadowed = String::new();
    while let Some(at) = rest.find('%') {
        let end = rest[at + 1..].find(|c: char| !(c.is_ascii_alphanumeric() || "._$".contains(c)));
        let end = end.map_or(rest.len(), |end| at + 1 + end);
        let register = &rest[at..end];
        shadowed += &rest[..at];
        shadowed += &if kind(register).is_some() { shadow(register) } else { register.to_owned() };
        rest = &rest[end..];
    }
    shadowed + rest
}
