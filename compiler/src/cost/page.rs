//! The table of `docs/performance.md`, which the estimates make.

use std::path::Path;

use bytec_plan::kernel::UnaryFn;

use super::linear::{Layer, Tile};

const PAGE: &str = "docs/performance.md";
const TOKENS: [u64; 5] = [512, 2048, 8192, 16384, 65536];

fn table() -> String {
    let mut lines = vec![
        "| layer | n x k | tile | 512 tokens | 2,048 | 8,192 | 16,384 | 65,536 |".to_owned(),
        "|---|---|---|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for (model, hidden) in [("BERT-base", 768), ("BERT-large", 1024)] {
        for (name, n, k, gelu) in [
            ("q, k, v", 3 * hidden, hidden, false),
            ("attention out", hidden, hidden, false),
            ("up, with GELU", 4 * hidden, hidden, true),
            ("down", hidden, 4 * hidden, false),
        ] {
            let epilogue = if gelu { vec![UnaryFn::GeluErf] } else { Vec::new() };
            let layer = Layer { n, k, epilogue };
            let tile = Tile::best(&layer);
            let mut line = format!("| {model}, {name} | {n} x {k} | {tile} |");
            for tokens in TOKENS {
                let estimate = tile.estimate(&layer, tokens);
                line += &format!(" {}, {} % |", estimate.waves, (estimate.share + 5) / 10);
            }
            lines.push(line);
        }
    }
    lines.join("\n") + "\n"
}

/// `UPDATE_EXPECT=1 cargo test -p bytec-compiler --lib cost::page` writes the table anew.
#[test]
fn the_page_has_what_the_model_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let expected = table();
    let header = expected.lines().next().unwrap();
    let begin = page.find(header).expect("the page has the table");
    let end = begin + page[begin..].find("\n\n").expect("text follows") + 1;
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
        let renewed = format!("{}{expected}{}", &page[..begin], &page[end..]);
        std::fs::write(&path, renewed).unwrap();
        return;
    }
    assert_eq!(page[begin..end], expected, "{PAGE} is stale: UPDATE_EXPECT=1 writes it anew");
}
