#!/usr/bin/env bash
# Runs a pack on this machine and writes RESULT_DIR/gpu.json and RESULT_DIR/gpu.md. Needs the NVIDIA driver alone;
# with NVRTC models of real sizes are timed, with compute-sanitizer its tools look on, with PyTorch it is measured too.
#
#   ./run.sh RESULT_DIR [OPTION..]           --phase kernels,models,sanitizer,timings   --limit PHASE=SECONDS
#                                            --only WORD   --shapes minilm,bert_base   --nvrtc FOLDER   --device sim
# Exit codes: 0 all is right, 1 something is wrong or was not reached, 2 this machine can't.
set -uo pipefail
if [ $# -lt 1 ]; then
    echo "usage: $0 RESULT_DIR [OPTION..]" >&2
    exit 2
fi
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")" || exit 2

# A toolkit's NVRTC is found by the program; that of a Python package is looked for here.
options=("$@")
if [[ " $* " != *" --nvrtc "* ]] && [ ! -d /usr/local/cuda ] && command -v python3 >/dev/null; then
    for folder in $(python3 -c 'import site, sys; print(*{*site.getsitepackages(), *sys.path})' 2>/dev/null); do
        if ls "$folder"/nvidia/*/lib/libnvrtc.so.1[23] >/dev/null 2>&1; then
            options+=(--nvrtc "$folder")
            break
        fi
    done
fi

./gpu run cases "$out" --date "$(date -u +%F)" "${options[@]}"
code=$?

# Which tiles are quickest for the linears of the plans that were timed, where all was right: a table for each plan, for
# `bytec compile --tuned`. TUNE_SECONDS limits each. Without a GPU it only tries its way, with one of the pack's plans.
if [[ " $* " == *" --device sim "* ]]; then
    plans=(cases/linear*/sm_90a-f16.plan)
    plans=("${plans[@]:0:1}")
    tuning=(--device sim:sm_90a)
else
    plans=("$out"/models/*-BertForSequenceClassification-sm_90a-*.plan)
    tuning=(--date "$(date -u +%F)")
fi
tuning+=(--kernel-cache "$out/models/kernels")
for ((i = 0; i + 1 < ${#options[@]}; i++)); do
    [ "${options[i]}" = --nvrtc ] && tuning+=(--nvrtc "${options[i + 1]}")
done
for plan in "${plans[@]}"; do
    [ "$code" = 0 ] && [ -f "$plan" ] || continue
    table=()
    if [[ " $* " != *" --device sim "* ]]; then
        table=(--table "$out/tuned-$(basename "$plan" .plan).json")
    fi
    timeout "${TUNE_SECONDS:-60}" ./bytec tune "$plan" "${tuning[@]}" "${table[@]}" ||
        echo "bytec tune was stopped or failed" >&2
done
rm -rf "$out/models"

# Another program on the same batches, for comparison; it may fail without harm. PEER_SECONDS limits it, of which
# torch.compile takes most. Without a GPU it only tries its way, times nothing and writes nothing.
limit=${PEER_SECONDS:-100}
if [[ " $* " == *" --device sim "* ]] && [ -n "${PEER_PYTHON:-}" ]; then
    timeout "$limit" "$PEER_PYTHON" peer.py "$out/shapes.json" --dry-run || echo "peer.py was stopped or failed" >&2
fi
if [ -f "$out/gpu.json" ] && [[ " $* " != *" --device sim "* ]] && grep -q '"median_ms"' "$out/gpu.json"; then
    if command -v python3 >/dev/null && python3 -c 'import torch' 2>/dev/null; then
        timeout "$limit" python3 peer.py "$out/shapes.json" "$out/peer.json" || echo "peer.py was stopped or failed" >&2
        ./gpu report "$out" || true
    else
        echo "no PyTorch here: nothing to compare times with" >&2
    fi
fi
[ -f "$out/gpu.md" ] && cat "$out/gpu.md"
exit "$code"
