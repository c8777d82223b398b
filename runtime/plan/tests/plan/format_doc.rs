//! The dump in `FORMAT.md` is that of the sample.

use std::fmt::Write;

use expect_test::expect_file;

use crate::assemble::{COUNT_AT, ENTRY, TABLE_AT, u32_at, u64_at};
use crate::sample;

const BEGIN: &str = "<!-- dump -->\n";
const END: &str = "<!-- end of dump -->";

#[test]
fn the_dump_in_the_format_document() {
    let doc = include_str!("../../FORMAT.md");
    let (before, rest) = doc.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let dump = dump(&sample::plan());
    let renewed = format!("{before}{BEGIN}```text\n{dump}```\n{END}{after}");
    expect_file!["../../FORMAT.md"].assert_eq(&renewed);
}

/// The file in hexadecimal, a note beside each field.
fn dump(plan: &[u8]) -> String {
    let mut text = String::new();
    let mut field = |at: usize, length: usize, note: &str| rows(&mut text, plan, at, length, note);
    field(0, 8, "magic");
    field(8, 4, "format");
    field(12, 4, "oldest reader");
    field(16, 8, "file length");
    field(24, 4, "sections");
    field(28, 4, "reserved");
    field(32, 32, "hash of header and table");
    let count = u32_at(plan, COUNT_AT) as usize;
    let mut end = TABLE_AT + count * ENTRY;
    let mut sections = Vec::new();
    for i in 0..count {
        let at = TABLE_AT + i * ENTRY;
        let kind = ["manifest", "program", "tokenizer", "weights"][u32_at(plan, at) as usize - 1];
        field(at, 4, &format!("kind: {kind}"));
        field(at + 4, 4, "index");
        field(at + 8, 8, "offset");
        field(at + 16, 8, "length");
        field(at + 24, 32, "hash");
        sections.push((u64_at(plan, at + 8) as usize, u64_at(plan, at + 16) as usize, kind));
    }
    for (offset, length, kind) in sections {
        if offset > end {
            writeln!(text, "{end:06x}  {} zeros", offset - end).expect("a string takes all");
        }
        if length <= 64 {
            rows(&mut text, plan, offset, length, kind);
        } else {
            rows(&mut text, plan, offset, 32, kind);
            writeln!(text, "        .. {} bytes", length - 64).expect("a string takes all");
            rows(&mut text, plan, offset + length - 32, 32, &format!("end of {kind}"));
        }
        end = offset + length;
    }
    text
}

/// Rows of sixteen bytes with their characters; the note stands by the first.
fn rows(text: &mut String, plan: &[u8], at: usize, length: usize, note: &str) {
    for (i, row) in plan[at..at + length].chunks(16).enumerate() {
        let hex: Vec<_> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let chars: String =
            row.iter().map(|byte| if printable(byte) { char::from(*byte) } else { '.' }).collect();
        let note = if i == 0 { note } else { "" };
        let line = format!("{:06x}  {:<47}  {chars:<16}  {note}", at + i * 16, hex.join(" "));
        writeln!(text, "{}", line.trim_end()).expect("a string takes all");
    }
}
