//! Samples and texts that don't fit the plan.

use super::scene::tensors;
use super::{Around, RUN, Row};

type Tensor = (&'static str, &'static str, &'static [u64], &'static [i64]);

/// A row over a file of these tensors.
fn inputs(name: &str, given: &'static [Tensor], says: &[&str]) -> Row {
    Row::new(name, RUN)
        .broken(move |scene| scene.write("in.safetensors", tensors(given)))
        .fails(2, says)
}

/// A row over a file of texts.
fn texts(name: &str, content: &'static [u8], says: &[&str]) -> Row {
    Row::new(name, "run good.plan --text-file texts.txt --no-truncate")
        .broken(move |scene| scene.write("texts.txt", content))
        .fails(2, says)
}

const IDS: Tensor = ("0.input_ids", "I64", &[3], &[2, 5, 3]);
const LONG: &[u8] = b"a cat\nthe cat sat on the mat. the cat sat on the mat. the cat sat on the mat. the cat sat on the mat. the cat sat on the mat.\n";

pub(super) fn rows() -> Vec<Row> {
    let file = "in.safetensors";
    vec![
        inputs("no samples", &[], &[file, "found none"]),
        inputs(
            "a key without a dot",
            &[("input_ids", "I64", &[1], &[2])],
            &[file, "\"input_ids\"", "<sample>.<input name>"],
        ),
        inputs(
            "a key without a sample",
            &[(".input_ids", "I64", &[1], &[2])],
            &[file, "\".input_ids\""],
        ),
        inputs("a key without an input", &[("0.", "I64", &[1], &[2])], &[file, "\"0.\""]),
        inputs(
            "an unknown input",
            &[IDS, ("0.attention_mask", "I64", &[3], &[1, 1, 1])],
            &["sample 0", "`attention_mask`", "input_ids, token_type_ids"],
        ),
        inputs(
            "a missing input",
            &[IDS, ("1.token_type_ids", "I64", &[1], &[0])],
            &["sample 1", "`input_ids`", "found none"],
        ),
        inputs(
            "lengths that disagree",
            &[IDS, ("0.token_type_ids", "I64", &[2], &[0, 0])],
            &["sample 0", "token_type_ids", "found 2"],
        ),
        inputs(
            "a batch axis",
            &[("4.input_ids", "I64", &[1, 3], &[2, 5, 3])],
            &["sample 4", "`input_ids`", "1 axes [L]", "[1, 3]"],
        ),
        inputs(
            "a scalar",
            &[("0.input_ids", "I64", &[], &[2])],
            &["sample 0", "`input_ids`", "found []"],
        ),
        inputs(
            "floats for ids",
            &[("0.input_ids", "F32", &[3], &[2, 5, 3])],
            &["sample 0", "`input_ids`", "i64", "f32"],
        ),
        inputs(
            "bytes for ids",
            &[("0.input_ids", "U8", &[3], &[2, 5, 3])],
            &[file, "0.input_ids", "U8"],
        ),
        inputs(
            "an id past the vocabulary",
            &[("0.input_ids", "I64", &[2], &[2, 50])],
            &["sample 0", "`input_ids`, element 1", "below 50", "found 50"],
        ),
        inputs(
            "a negative id",
            &[("0.input_ids", "I64", &[2], &[-1, 2])],
            &["sample 0", "`input_ids`, element 0", "found -1"],
        ),
        inputs(
            "an id past 32 bits",
            &[("0.input_ids", "I64", &[1], &[i64::MIN])],
            &["sample 0", "-9223372036854775808"],
        ),
        inputs(
            "a third segment",
            &[IDS, ("0.token_type_ids", "I64", &[3], &[0, 1, 2])],
            &["sample 0", "`token_type_ids`, element 2", "below 2"],
        ),
        inputs(
            "no tokens",
            &[("7.input_ids", "I64", &[0], &[])],
            &["sample 7", "`input_ids`", "1 to 32", "found 0"],
        ),
        inputs(
            "too many tokens",
            &[("0.input_ids", "I64", &[33], &[5; 33])],
            &["sample 0", "`input_ids`", "1 to 32", "found 33"],
        ),
        inputs(
            "an extent past all bounds",
            &[("0.input_ids", "I64", &[1 << 40, 0], &[])],
            &["sample 0 has 1099511627776 tokens"],
        ),
        Row::new("an empty file of tensors", RUN)
            .broken(|scene| scene.write("in.safetensors", ""))
            .fails(2, [file, "found 0"]),
        Row::new("a cut file of tensors", RUN)
            .broken(|scene| scene.edit("in.safetensors", |bytes| bytes.truncate(bytes.len() - 8)))
            .fails(2, [file, "the tensors take"]),
        Row::new(
            "no file of tensors",
            "run good.plan --inputs other.safetensors -o out/new.safetensors",
        )
        .fails(2, ["can't read other.safetensors"]),
        Row::new("a sample past --max-batch-tokens", format!("{RUN} --max-batch-tokens 3"))
            .fails(2, ["sample 1 has 4 tokens", "--max-batch-tokens allows 3"]),
        Row::new("no tokens in a batch", format!("{RUN} --max-batch-tokens 0"))
            .fails(2, ["--max-batch-tokens allows 0"]),
        Row::new("a number that is none", format!("{RUN} --max-batch-tokens many"))
            .fails(2, ["--max-batch-tokens", "'many'"]),
        Row::new("a text past --max-batch-tokens", "run good.plan --text cat --max-batch-tokens 2")
            .fails(2, ["text 1 has 3 tokens"]),
        Row::new("no file of texts", "run good.plan --text-file texts.txt")
            .fails(2, ["can't read texts.txt", "No such file"]),
        Row::new("a folder of texts", "run good.plan --text-file model")
            .fails(2, ["can't read model", "directory"]),
        texts("an empty file of texts", b"", &["texts.txt", "found nothing"]),
        texts("texts in another encoding", b"caf\xe9\n", &["can't read texts.txt", "UTF-8"]),
        texts(
            "a text over the limit",
            LONG,
            &["text 2", "at most 32 tokens", "found 37", "max_position_embeddings"],
        ),
        Row::new("nothing on standard input", "run good.plan --text-file -")
            .around(Around::Input(b""))
            .fails(2, ["standard input", "found nothing"]),
        Row::new("standard input in another encoding", "run good.plan --text-file -")
            .around(Around::Input(b"\xff\n"))
            .fails(2, ["can't read standard input", "UTF-8"]),
    ]
}
