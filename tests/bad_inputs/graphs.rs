//! Graphs in text form that don't parse, don't fit their weights, or can't be run on packed batches.

use super::Row;

const HEAD: &str = "bytec 1
symbol L in 1..=32
input %input_ids: i64[L]
weight @embeddings.word_embeddings.weight: f32[50, 24]
%x: f32[L, 24] = gather(@embeddings.word_embeddings.weight, %input_ids)
";

/// A row over the graph of these lines after [`HEAD`].
fn lines(name: &str, lines: &'static str, says: &[&str]) -> Row {
    text(name, format!("{HEAD}{lines}"), says)
}

/// A row over a graph file of this content.
fn text(name: &str, content: impl Into<Vec<u8>>, says: &[&str]) -> Row {
    let content = content.into();
    Row::new(name, "compile model --graph graph.bytec -o out/new.plan")
        .broken(move |scene| scene.write("graph.bytec", &content))
        .fails(2, says)
}

pub(super) fn rows() -> Vec<Row> {
    let graph = "graph.bytec";
    let good = format!("{HEAD}output y = %x\n");
    vec![
        text("a graph that is no graph", "nonsense", &[graph, "line 1, column 1"]),
        text(
            "a graph of another version",
            good.replace("bytec 1", "bytec 2"),
            &[graph, "line 1", "2"],
        ),
        text("a graph in another encoding", [0xff, 0xfe], &[graph, "UTF-8"]),
        text("a graph that ends in a line", &good[..100], &[graph, "line 4"]),
        lines("a graph without outputs", "", &[graph, "output"]),
        lines(
            "an unknown op",
            "%y: f32[L, 24] = sinh(%x)\noutput y = %y\n",
            &[graph, "line 6", "sinh"],
        ),
        lines("an unknown value", "%y: f32[L, 24] = softmax(%z)\noutput y = %y\n", &[graph, "%z"]),
        lines(
            "a type that the op doesn't give",
            "%y: f32[L, 23] = softmax(%x)\noutput y = %y\n",
            &[graph, "line 6", "[L, 24]"],
        ),
        lines(
            "a value defined twice",
            "%x: f32[L, 24] = softmax(%x)\noutput y = %x\n",
            &[graph, "line 6", "x"],
        ),
        lines("an unknown symbol", "input %more: f32[M]\noutput y = %x\n", &[graph, "line 6", "M"]),
        text(
            "a symbol without a value",
            good.replace("1..=32", "5..=2"),
            &[graph, "symbol L", "5..=2"],
        ),
        text(
            "a weight that the file lacks",
            good.replace("word_embeddings", "words"),
            &["model/model.safetensors", "`embeddings.words.weight`", "found nothing"],
        ),
        text(
            "a weight of another shape",
            good.replace("[50, 24]", "[49, 24]"),
            &["model/model.safetensors", "[49, 24]", "[50, 24]"],
        ),
        text(
            "an extent past 64 bits",
            good.replace("[50, 24]", "[99999999999999999999, 24]"),
            &[graph, "line 4"],
        ),
        lines(
            "scores that don't fuse",
            "%t: f32[24, L] = transpose(%x) {perm = [1, 0]}\n%s: f32[L, L] = matmul(%x, %t)\n%y: f32[L, 24] = matmul(%s, %x)\noutput y = %y\n",
            &["%s = matmul", "f32[L, L]", "4096 bytes at L = 32"],
        ),
        lines(
            "an op without a kernel",
            "%y: f32[L] = reduce(%x) {f = sum, axis = 1}\noutput y = %y\n",
            &["%y", "reduce"],
        ),
        lines(
            "integers as an output",
            "output y = %input_ids\n",
            &["output y", "expected floats", "i64[L]"],
        ),
        Row::new("--graph not found", "compile model --graph other.bytec -o out/new.plan")
            .fails(2, ["other.bytec: can't be read"]),
        text("--graph and --set", good.clone(), &["--set", "has no effect on a graph"])
            .with(" --set a=1"),
        text("--graph and --pooling", good, &["--pooling", "has no effect on a graph"])
            .with(" --pooling cls"),
    ]
}

impl Row {
    /// More arguments.
    fn with(mut self, arguments: &str) -> Self {
        self.arguments.push_str(arguments);
        self
    }
}
