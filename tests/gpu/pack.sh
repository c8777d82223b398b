#!/usr/bin/env bash
# Makes a pack for a machine with a GPU: the program, every kernel and model compiled, what each should give, and the
# scripts that run them there. Needs no GPU. Options after the folder go to `gpu pack` (`--only linear` packs a part).
#
#   tests/gpu/pack.sh OUT_DIR [OPTION..]     writes OUT_DIR/bytec-gpu.tar.xz, at most 50 MiB
set -euo pipefail
if [ $# -lt 1 ]; then
    echo "usage: $0 OUT_DIR [OPTION..]" >&2
    exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/../.."

limit=$((50 * 1024 * 1024))
pack=$out/bytec-gpu
archive=$out/bytec-gpu.tar.xz
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
if [ -n "$(git status --porcelain 2>/dev/null)" ]; then
    commit=$commit+
fi
rm -rf "$pack" "$archive"
mkdir -p "$pack"

# BYTEC_GPU_PROGRAM names one that is built already.
program=${BYTEC_GPU_PROGRAM:-}
if [ -z "$program" ]; then
    cargo build --quiet --locked --release -p bytec-tests --bin gpu
    program=${CARGO_TARGET_DIR:-target}/release/gpu
fi
# So does BYTEC_GPU_TUNER, for bytec itself.
tuner=${BYTEC_GPU_TUNER:-}
if [ -z "$tuner" ]; then
    cargo build --quiet --locked --release -p bytec
    tuner=${CARGO_TARGET_DIR:-target}/release/bytec
fi
nvrtc=$(examples/fetch_nvrtc.sh)
"$program" pack "$pack/cases" --cache "${BYTEC_GPU_CACHE:-.cache/gpu-kernels}" --nvrtc "$nvrtc" --commit "$commit" "$@"

# Line tables serve no one there.
strip -o "$pack/gpu" "$program" 2>/dev/null || cp "$program" "$pack/gpu"
strip -o "$pack/bytec" "$tuner" 2>/dev/null || cp "$tuner" "$pack/bytec"
cp tests/gpu/run.sh tests/gpu/peer.py "$pack/"

# The programs are linked against the C library and nothing else that a Linux might lack.
foreign=$(ldd "$pack/gpu" "$pack/bytec" | grep -v ':$' | awk '{ print $1 }' |
    grep -vE '^(linux-vdso|libc|libm|libgcc_s|libdl|libpthread|librt)\.so|ld-linux' || true)
if [ -n "$foreign" ]; then
    echo "expected programs that need the C library alone, found some that need: $foreign" >&2
    exit 1
fi

# Plans of one case are much alike: a window over several of them takes most of their bytes away.
XZ_OPT=${XZ_OPT:-"-T2 --lzma2=preset=6,dict=64MiB"} tar -C "$out" --sort=name --owner=0 --group=0 -cJf "$archive" bytec-gpu
bytes=$(stat -c %s "$archive")
if [ "$bytes" -gt "$limit" ]; then
    echo "expected a pack of at most $limit bytes, found $bytes: $archive" >&2
    exit 1
fi
echo "$archive: $bytes bytes"
