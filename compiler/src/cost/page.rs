//! The tables of `docs/performance.md`, which the estimates make.

use std::path::Path;

use bytec_plan::kernel::UnaryFn;

use super::attention::{self, Head, Lengths, Terms};
use super::feed_forward::{self, Layers};
use super::linear::{Estimate, Layer, Tile};
use super::{linear_layer_norm, linear_mma};

const PAGE: &str = "docs/performance.md";
const TOKENS: [u64; 5] = [512, 2048, 8192, 16384, 65536];

/// A table whose first cell is `first`; `chosen` gives a layer's tile and its estimates for [`TOKENS`].
fn table(first: &str, chosen: impl Fn(&Layer) -> (String, [Estimate; 5])) -> String {
    let mut lines = vec![
        format!("| {first} | n x k | tile | 512 tokens | 2,048 | 8,192 | 16,384 | 65,536 |"),
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
            let (tile, estimates) = chosen(&Layer { n, k, epilogue });
            let mut line = format!("| {model}, {name} | {n} x {k} | {tile} |");
            for estimate in estimates {
                line += &format!(" {}, {} % |", estimate.waves, (estimate.share + 5) / 10);
            }
            lines.push(line);
        }
    }
    lines.join("\n") + "\n"
}

fn on_hopper() -> String {
    table("layer", |layer| {
        let tile = Tile::best(layer);
        (tile.to_string(), TOKENS.map(|tokens| tile.estimate(layer, tokens)))
    })
}

fn on_ampere() -> String {
    table("layer on an A100", |layer| {
        let tile = linear_mma::Tile::best(layer, 2);
        let name = format!("{tile}, {} stages", tile.stages);
        (name, TOKENS.map(|tokens| tile.estimate(layer, tokens)))
    })
}

fn attention(first: &str, terms: Terms) -> String {
    let mut lines = vec![
        format!("| {first} | most tokens | tile | 64 tokens | 128 | 512 | 2,048 | 8,192 |"),
        "|---:|---:|---|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for size in [32, 64, 128] {
        let head = Head { terms, ..Head::plain(size) };
        for longest in [64, 512, 8192] {
            let lengths = Lengths { queries: longest, keys: longest, alike: false };
            let tile = attention::Tile::best(&head, lengths).unwrap();
            let mut line = format!("| {size} | {longest} | {tile} |");
            for rows in [64, 128, 512, 2048, 8192] {
                let percent = (tile.estimate(&head, rows, rows).share + 5) / 10;
                line += &if rows > longest { " |".to_owned() } else { format!(" {percent} % |") };
            }
            lines.push(line);
        }
    }
    lines.join("\n") + "\n"
}

/// Linears with the LayerNorm behind them: thousands of cycles in one kernel, and in two.
fn norms() -> String {
    let mut lines = vec![
        "| linear and norm | n x k | tile | 512 tokens | 2,048 | 8,192 | 16,384 | 65,536 |"
            .to_owned(),
        "|---|---|---|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for (model, hidden) in [("MiniLM", 384), ("BERT-base", 768), ("BERT-large", 1024)] {
        for (name, k) in [("attention out", hidden), ("down", 4 * hidden)] {
            let (tile, _) = linear_layer_norm::choose(hidden, k).unwrap();
            let mut line = format!("| {model}, {name} | {hidden} x {k} | {tile} |");
            for tokens in TOKENS {
                let together = tile.estimate(hidden, k, tokens).cycles;
                let apart = linear_layer_norm::apart(hidden, k, tokens);
                line += &format!(" {}, {} |", thousands(together), thousands(apart));
            }
            lines.push(line);
        }
    }
    lines.join("\n") + "\n"
}

/// Both linears behind attention: thousands of cycles in one launch, and in two.
fn feed_forwards() -> String {
    let mut lines = vec![
        "| up, down and norm | n x hidden | tiles | 512 tokens | 2,048 | 4,096 | 8,192 | 16,384 | 65,536 |"
            .to_owned(),
        "|---|---|---|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for (model, n) in [("MiniLM", 384), ("BERT-base", 768), ("BERT-large", 1024)] {
        let layers = Layers { n, hidden: 4 * n, k: n, epilogue: vec![UnaryFn::GeluErf] };
        let tile = feed_forward::Tile::best(&layers).unwrap();
        let mut line = format!("| {model} | {n} x {} | {tile} |", 4 * n);
        for tokens in [512, 2048, 4096, 8192, 16384, 65536] {
            let together = tile.estimate(&layers, tokens);
            let apart = layers.apart(tokens).unwrap();
            line += &format!(" {}, {} |", thousands(together), thousands(apart));
        }
        lines.push(line);
    }
    lines.join("\n") + "\n"
}

fn thousands(cycles: u64) -> String {
    format!("{}.{}", cycles / 1000, cycles / 100 % 10)
}

/// `UPDATE_EXPECT=1 cargo test -p bytec-compiler --lib cost::page` writes the tables anew.
#[test]
fn the_page_has_what_the_models_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let mut renewed = page.clone();
    let plain = attention("head", Terms::default());
    let by_distance = attention("head with both terms", Terms { c2p: true, p2c: true });
    let tables = [on_hopper(), norms(), feed_forwards(), on_ampere(), plain, by_distance];
    for expected in tables {
        let header = expected.lines().next().unwrap();
        let begin = renewed.find(header).expect("the page has the table");
        let end = begin + renewed[begin..].find("\n\n").expect("text follows") + 1;
        renewed.replace_range(begin..end, &expected);
    }
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
        std::fs::write(&path, renewed).unwrap();
        return;
    }
    assert_eq!(page, renewed, "{PAGE} is stale: UPDATE_EXPECT=1 writes it anew");
}
