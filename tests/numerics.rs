//! Approximate arithmetic is in the templates only where `docs/numerics.md` lists it.

use std::collections::BTreeSet;
use std::fs;

use bytec_templates::{KERNELS, LIBRARY};

/// CUDA's own functions that approximate: intrinsics, and functions that are not rounded correctly.
const FUNCTIONS: [&str; 19] = [
    "__cosf",
    "__exp10f",
    "__expf",
    "__fdividef",
    "__log10f",
    "__log2f",
    "__logf",
    "__powf",
    "__sinf",
    "__tanf",
    "__tanhf",
    "cosf",
    "erff",
    "exp2f",
    "expf",
    "logf",
    "powf",
    "rsqrtf",
    "tanhf",
];

/// The words of a text, in which dots join the parts of an instruction.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
}

fn is_approximate(word: &str) -> bool {
    let instruction = word.split('.').skip(1).any(|part| matches!(part, "approx" | "ftz" | "full"));
    instruction || FUNCTIONS.contains(&word)
}

#[test]
fn approximate_instructions_are_those_that_the_page_lists() {
    let page = fs::read_to_string(bytec_tests::root().join("docs/numerics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<_> = rows
        .filter_map(|row| row.split_once("` | `"))
        .filter_map(|(instruction, rest)| Some((instruction, rest.split_once('`')?.0)))
        .collect();
    let found: BTreeSet<_> = KERNELS
        .iter()
        .chain(LIBRARY)
        .flat_map(|file| file.text.lines().map(move |line| (file.name, line)))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(name, line)| words(line).map(move |word| (word, name)))
        .filter(|(word, _)| is_approximate(word))
        .collect();
    assert_eq!(found, listed, "left the templates', right the page's");
}

#[test]
fn instructions_are_told_apart() {
    let line = r#"asm("ex2.approx.ftz.f32 %0, %1;"); y = __expf(x) + rsqrtf(x) + sqrtf(x) / 2.0f;"#;
    let found: Vec<_> = words(line).filter(|word| is_approximate(word)).collect();
    assert_eq!(found, ["ex2.approx.ftz.f32", "__expf", "rsqrtf"]);
    assert!(!is_approximate("div.rn.f32") && !is_approximate("exponential"));
}
