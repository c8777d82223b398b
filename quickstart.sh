#!/usr/bin/env bash
# From nothing to sentence embeddings: fetches real weights, builds bytec, compiles them into plans, runs one of them.
# Needs Rust and Python 3 with pip; no GPU and no CUDA.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$*"; }

say "Fetching all-MiniLM-L6-v2, and NVRTC to compile for GPUs"
model=$(examples/fetch_minilm.sh)
# Without it plans for GPUs can't be compiled; all else works.
nvrtc=$(examples/fetch_nvrtc.sh) || nvrtc=
printf '%s\n' "$model" "${nvrtc:-no NVRTC}"

say "Building bytec"
cargo build --release --locked -p bytec -p bytec-examples

bytec() { cargo run --release --locked --quiet -p bytec -- "$@"; }
say "Compiling the model into a plan for the CPU"
bytec compile "$model" -o .cache/minilm.plan
if [ -n "$nvrtc" ]; then
    say "Compiling it into a plan for NVIDIA GPUs, Ampere and Hopper"
    bytec compile "$model" --target sm_80,sm_90a --nvrtc "$nvrtc" -o .cache/minilm-gpu.plan
fi

say "Embedding sentences of very different lengths in one packed batch"
cargo run --release --locked --quiet -p bytec-examples --bin similarity -- .cache/minilm.plan
