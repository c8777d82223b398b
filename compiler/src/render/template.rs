//! The templates in Tera, with delimiters that leave CUDA alone, and where each rendered line comes from.
//!
//! Every line of a template carries an invisible mark through rendering: a control character, the file's index, and the
//! line's number. The marks are read and taken out afterwards, so the map stays exact through includes, conditions
//! and loops. A line that holds nothing but a control tag leaves no line.

use bytec_templates::{File, KERNELS, LIBRARY};
use serde::Serialize;
use tera::{Context, Delimiters, Tera};

use super::{Place, RenderError};

/// Stands before a mark; no template holds it.
const MARK: char = '\u{1}';

/// The parsed templates.
pub(super) struct Templates {
    tera: Tera,
}

impl Templates {
    /// Parses every template and library file.
    pub(super) fn new() -> Result<Self, RenderError> {
        Self::of(KERNELS.iter().chain(LIBRARY))
    }

    fn of<'a>(files: impl Iterator<Item = &'a File>) -> Result<Self, RenderError> {
        let all = |e: &tera::Error| wrong("(all)", e);
        let mut tera = Tera::new();
        tera.autoescape_on(Vec::<&str>::new());
        let delimiters = Delimiters {
            block_start: "<%".into(),
            block_end: "%>".into(),
            variable_start: "<$".into(),
            variable_end: "$>".into(),
            comment_start: "<#".into(),
            comment_end: "#>".into(),
        };
        tera.set_delimiters(delimiters).map_err(|e| all(&e))?;
        let texts = files.enumerate().map(|(index, file)| (file.name, marked(file.text, index)));
        tera.add_raw_templates(texts).map_err(|e| all(&e))?;
        Ok(Self { tera })
    }

    /// Fills in a template: the text, and the place of each of its lines.
    pub(super) fn render(
        &self,
        template: &str,
        params: &impl Serialize,
        symbol: &str,
        element: &str,
    ) -> Result<(String, Vec<Place>), RenderError> {
        let wrong = |e: tera::Error| wrong(template, &e);
        let mut context = Context::from_serialize(params).map_err(wrong)?;
        context.insert("symbol", symbol);
        context.insert("element", element);
        let rendered = self.tera.render(template, &context).map_err(wrong)?;
        Ok(unmarked(&rendered))
    }

    /// The variables that a template and what it includes use.
    #[cfg(test)]
    pub(super) fn variables(&self, template: &str) -> std::collections::BTreeSet<String> {
        let names = self.tera.get_template_variables(template).expect("the template is there");
        names.into_iter().map(str::to_owned).collect()
    }
}

fn wrong(template: &str, error: &tera::Error) -> RenderError {
    RenderError::Template { template: template.to_owned(), reason: error.to_string() }
}

/// The text with a mark at the end of each line that renders to a line.
fn marked(text: &str, index: usize) -> String {
    let mut out = String::with_capacity(text.len() + 8 * text.lines().count());
    for (at, line) in text.lines().enumerate() {
        let tag = line.trim();
        let inner = tag.strip_prefix("<%").and_then(|tag| tag.strip_suffix("%>"));
        let inner = inner.filter(|inner| !inner.contains("%>"));
        match inner {
            // The newline goes into the tag, so that Tera's own messages still count lines as the file does.
            Some(inner) => {
                out.push_str("<%");
                out.push_str(inner);
                out.push_str("\n%>");
            }
            None => {
                out.push_str(line);
                out.push_str(&format!("{MARK}{index}:{}\n", at + 1));
            }
        }
    }
    out
}

/// The text without its marks, and the place of each line. A line that a value broke off carries no mark; the next
/// mark is its own.
fn unmarked(rendered: &str) -> (String, Vec<Place>) {
    let names: Vec<_> = KERNELS.iter().chain(LIBRARY).map(|file| file.name).collect();
    let mut text = String::with_capacity(rendered.len());
    let mut places = Vec::new();
    let mut waiting = 0;
    for line in rendered.lines() {
        let (line, mark) = match line.split_once(MARK) {
            Some((line, mark)) => (line, Some(mark)),
            None => (line, None),
        };
        text.push_str(line);
        text.push('\n');
        waiting += 1;
        let place = mark.and_then(|mark| {
            let (file, line) = mark.split_once(':')?;
            Some(Place { file: names.get(file.parse::<usize>().ok()?)?, line: line.parse().ok()? })
        });
        if let Some(place) = place {
            places.extend(std::iter::repeat_n(place, waiting));
            waiting = 0;
        }
    }
    (text, places)
}

#[cfg(test)]
mod tests {
    use super::{File, MARK, Templates, marked};

    #[test]
    fn control_lines_leave_no_line_and_keep_their_number() {
        let text = "a\n<% if x %>\n  b <$ y $>\n<% endif %>\nc\n";
        let expected = "a@0:1\n<% if x \n%>  b <$ y $>@0:3\n<% endif \n%>c@0:5\n"
            .replace('@', &MARK.to_string());
        assert_eq!(marked(text, 0), expected);
    }

    #[test]
    fn a_line_of_text_between_tags_is_a_line() {
        let text = "<% for x in y %><$ x $><% endfor %>\n";
        assert_eq!(marked(text, 2), format!("<% for x in y %><$ x $><% endfor %>{MARK}2:1\n"));
    }

    #[test]
    fn everyday_cuda_passes_through() {
        let cuda = "asm(\"mma {%0,%1}, {%2};\" : : \"r\"(a));\nfloat a[2][2] = {{0.f, 1.f}, {2.f, 3.f}}; // {# {% <<< >>>\n";
        let file = File { name: "kernels/x.cu.tera", text: cuda };
        let templates = Templates::of([file].iter()).unwrap();
        let none = std::collections::BTreeMap::<String, String>::new();
        let (text, places) = templates.render(file.name, &none, "s", "f16").unwrap();
        assert_eq!(text, cuda);
        assert_eq!(places.len(), 2);
    }
}
