//! Leaves out of a list what repeats under other numbers: a model's layers after the first.

use std::io::{self, Write};

/// An entry of a list.
pub(super) struct Entry {
    /// The value that it is about.
    pub(super) name: String,
    /// One line or several.
    pub(super) text: String,
}

/// Writes the entries, each with `lead` before it. A run of entries that comes again, with other numbers in the values'
/// names, is written once, and then how often it comes again.
pub(super) fn write(out: &mut impl Write, entries: &[Entry], lead: &str) -> io::Result<()> {
    let keys: Vec<String> = entries.iter().map(|entry| masked(&entry.text)).collect();
    for Run { start, length, times } in runs(&keys) {
        for entry in &entries[start..start + length] {
            writeln!(out, "{lead}{}", entry.text)?;
        }
        if times > 1 {
            let (from, to) =
                (&entries[start + length].name, &entries[start + length * times - 1].name);
            let often = if times == 2 { "once".to_owned() } else { format!("{} times", times - 1) };
            writeln!(out, "{lead}  .. and {often} more, from %{from} to %{to}")?;
        }
    }
    Ok(())
}

/// Some entries, and how often they come in a row.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    start: usize,
    length: usize,
    times: usize,
}

/// All entries as runs: at each place the run that covers most, unless it leaves out a single entry alone.
fn runs(keys: &[String]) -> Vec<Run> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < keys.len() {
        let mut best = Run { start, length: 1, times: 1 };
        for length in 1..=(keys.len() - start) / 2 {
            let first = &keys[start..start + length];
            let times = keys[start..].chunks(length).take_while(|chunk| *chunk == first).count();
            let covers = length * times;
            if covers > best.length * best.times && covers > length + 1 {
                best = Run { start, length, times };
            }
        }
        start += best.length * best.times;
        found.push(best);
    }
    found
}

/// The text with `#` for each number in a value's name, and single blanks.
fn masked(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        if !word.starts_with('%') {
            return word.to_owned();
        }
        let mut name = String::new();
        for c in word.chars() {
            match (c.is_ascii_digit(), name.ends_with('#')) {
                (false, _) => name.push(c),
                (true, false) => name.push('#'),
                (true, true) => {}
            }
        }
        name
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(texts: &[&str]) -> String {
        let entry = |text: &&str| {
            let name = text.split(' ').next().unwrap_or_default().trim_start_matches('%');
            Entry { name: name.to_owned(), text: (*text).to_owned() }
        };
        let entries: Vec<_> = texts.iter().map(entry).collect();
        let mut out = Vec::new();
        write(&mut out, &entries, "").unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn layers_after_the_first_are_counted() {
        let mut texts = vec!["%embed gather".to_owned()];
        for layer in 0..12 {
            texts.push(format!("%layer.{layer}.in  linear [L, 8]"));
            texts.push(format!("%layer.{layer}.out linear [L, 8], after %layer.{layer}.in"));
        }
        texts.push("%head linear".to_owned());
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        assert_eq!(
            folded(&texts),
            "%embed gather\n%layer.0.in  linear [L, 8]\n%layer.0.out linear [L, 8], after %layer.0.in\n  \
             .. and 11 times more, from %layer.1.in to %layer.11.out\n%head linear\n"
        );
    }

    #[test]
    fn other_numbers_and_single_entries_stay() {
        let other = ["%layer.0 linear [L, 8]", "%layer.1 linear [L, 9]", "%layer.2 linear [L, 8]"];
        assert_eq!(folded(&other), other.join("\n") + "\n");
        // One line is no longer than to say that there is one.
        let two = ["%layer.0 linear", "%layer.1 linear"];
        assert_eq!(folded(&two), two.join("\n") + "\n");
        let twice = ["%a.0 x", "%b.0 y", "%a.1 x", "%b.1 y"];
        assert_eq!(folded(&twice), "%a.0 x\n%b.0 y\n  .. and once more, from %a.1 to %b.1\n");
    }
}
