#!/usr/bin/env bash
# From nothing to sentence embeddings: fetches real weights, builds bytec, compiles them into a plan, runs the plan.
# Needs Rust and Python 3 with pip; no GPU and no CUDA.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$*"; }

say "Fetching all-MiniLM-L6-v2"
model=$(examples/fetch_minilm.sh)
echo "$model"

say "Building bytec"
cargo build --release --locked -p bytec -p bytec-examples

say "Compiling the model into a plan"
cargo run --release --locked --quiet -p bytec -- compile "$model" -o .cache/minilm.plan

say "Embedding sentences of very different lengths in one packed batch"
cargo run --release --locked --quiet -p bytec-examples --bin similarity -- .cache/minilm.plan
