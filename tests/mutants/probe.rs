//! Proof that a mutant is equivalent: the kernel beside the mutant's statement, stopped where the two first differ.

use super::mutate::Mutant;

/// Registers that no kernel has, by the beginning of the names that NVRTC gives to registers of the same kind.
const REGISTERS: [(&str, &str, &str); 6] = [
    ("%p", "%mutant_p", ".pred"),
    ("%rs", "%mutant_h", ".b16"),
    ("%rd", "%mutant_d", ".b64"),
    ("%r", "%mutant_r", ".b32"),
    ("%f", "%mutant_f", ".f32"),
    ("%h", "%mutant_h", ".b16"),
];

/// PTX that computes what the mutant's statement would, then runs the kernel's own, and traps if the results differ; or
/// that traps where a predicate that the mutant drops is false. `None` if the statement is of another kind.
pub(crate) fn probe(ptx: &str, mutant: &Mutant) -> Option<String> {
    let own = ptx.lines().nth(mutant.line - 1)?.trim();
    let check = match own.strip_prefix('@') {
        Some(guarded) if mutant.class == "predicate dropped" => {
            let predicate = guarded.split_whitespace().next()?;
            let skipped = match predicate.strip_prefix('!') {
                Some(predicate) => predicate.to_owned(),
                None => format!("!{predicate}"),
            };
            format!("@{skipped} trap;\n{own}")
        }
        Some(_) => return None,
        None if mutant.class == "registers of a fragment swapped" => swapped(own, &mutant.text)?,
        None => beside(own, &mutant.text)?,
    };
    let mut text = String::new();
    let mut declared = false;
    for (number, line) in ptx.lines().enumerate() {
        if !declared && line.trim_start().starts_with(".reg") {
            declared = true;
            text +=
                ".reg .pred %mutant_p, %mutant_q;\n.reg .b16 %mutant_h;\n.reg .b64 %mutant_d;\n";
            text += ".reg .b32 %mutant_r, %mutant_s, %mutant_t;\n.reg .f32 %mutant_f;\n";
        }
        text += if number + 1 == mutant.line { &check } else { line };
        text.push('\n');
    }
    Some(text)
}

/// The two statements side by side, and a trap where the registers that they write differ.
fn beside(own: &str, mutant: &str) -> Option<String> {
    let (_, operands) = mutant.trim().split_once(char::is_whitespace)?;
    let written = operands.split(',').next()?.trim();
    if written.contains(['[', '{', '|']) || mutant.trim().starts_with("st.") {
        return None;
    }
    let (_, fresh, kind) = REGISTERS.iter().find(|(start, ..)| {
        let digits = written.strip_prefix(start);
        digits.is_some_and(|digits| digits.chars().all(|digit| digit.is_ascii_digit()))
    })?;
    let mutant = mutant.replacen(written, fresh, 1);
    let compare = match *kind {
        ".pred" => format!(
            "selp.u32 %mutant_r, 1, 0, {written};\nselp.u32 %mutant_s, 1, 0, {fresh};\n\
             setp.ne.s32 %mutant_q, %mutant_r, %mutant_s;"
        ),
        ".f32" => format!(
            "mov.b32 %mutant_r, {written};\nmov.b32 %mutant_s, {fresh};\n\
             setp.ne.s32 %mutant_q, %mutant_r, %mutant_s;"
        ),
        ".b16" => format!("setp.ne.s16 %mutant_q, {written}, {fresh};"),
        ".b64" => format!("setp.ne.s64 %mutant_q, {written}, {fresh};"),
        _ => format!("setp.ne.s32 %mutant_q, {written}, {fresh};"),
    };
    Some(format!("{mutant}\n{own}\n{compare}\n@%mutant_q trap;"))
}

/// A trap where two inputs of an `mma` that a mutant swaps differ.
fn swapped(own: &str, mutant: &str) -> Option<String> {
    let registers = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '%'));
        words.filter(|word| word.starts_with('%')).map(str::to_owned).collect()
    };
    let (before, after) = (registers(own), registers(mutant));
    let at = before.iter().zip(&after).position(|(before, after)| before != after)?;
    // The result has four registers, and comes first.
    let [first, second] = [before.get(at)?, before.get(at + 1)?];
    (at >= 4).then(|| {
        format!(
            "mov.b32 %mutant_r, {first};\nmov.b32 %mutant_s, {second};\n\
             setp.ne.s32 %mutant_q, %mutant_r, %mutant_s;\n@%mutant_q trap;\n{own}"
        )
    })
}
