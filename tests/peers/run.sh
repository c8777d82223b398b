#!/usr/bin/env bash
# Measures bytec on this machine's CPU beside PyTorch, ONNX Runtime and candle, and writes docs/benchmarks/cpu.md and cpu.json,
# which the README quotes; cpu.py beside this says what is measured. Run it on a machine that does nothing else.
#
#   tests/peers/run.sh [--venv FOLDER] [OPTION..]      --dry-run   --rounds N   --seconds S   --cell-seconds S   --only REGEX
#
# On two idle cores it is made to take about 30 minutes, and says at its start how long it will take; cells that would take
# longer than --cell-seconds have fewer rounds, which the tables say.
# The virtual environment (6 GB) is made in target/peers/venv unless FOLDER is given, and kept for the next time.
# Exit codes: 0 all outputs agree, 1 some don't, 2 it could not be set up.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
venv=$target/peers/venv
if [ "${1:-}" = --venv ]; then
    venv=${2:?--venv: expected a folder}
    shift 2
else
    wanted=tests/peers/requirements.txt
    # The copy is written last, so that an installation which was cut off is taken up again.
    if ! cmp -s "$wanted" "$venv/installed.txt"; then
        python3 -m venv "$venv" || exit 2
        "$venv/bin/python" -m pip install --quiet --requirement "$wanted" || exit 2
        cp "$wanted" "$venv/installed.txt"
    fi
fi
# BYTEC names a program that is built already.
program=${BYTEC:-}
if [ -z "$program" ]; then
    cargo build --locked --release -p bytec || exit 2
    program=$target/release/bytec
fi
# CANDLE names one of candle's; as published, and in a workspace of its own.
candle=${CANDLE:-}
if [ -z "$candle" ]; then
    cargo build --locked --release --manifest-path tests/peers/candle/Cargo.toml --target-dir "$target/peers/candle" || exit 2
    candle=$target/peers/candle/release/candle-peer
fi
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
if [ -n "$(git status --porcelain 2>/dev/null)" ]; then
    commit=$commit+
fi
minilm=$(examples/fetch_minilm.sh) || exit 2
# Nothing more is fetched.
export HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=
exec "$venv/bin/python" tests/peers/cpu.py --bytec "$program" --candle "$candle" --minilm "$minilm" --work "$target/peers" \
    --out docs/benchmarks --readme README.md --commit "$commit" "$@"
