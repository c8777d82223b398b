#!/usr/bin/env bash
# Holds bytec against transformers on random models; README.md beside this says what is compared.
#
#   tests/transformers/run.sh [--venv FOLDER] [OPTION..]            --rounds N   --seed N   --only REGEX
#   tests/transformers/run.sh [--venv FOLDER] archives [OPTION..]   --forms NAME,..   --seed N   --only REGEX
#
# The virtual environment is made in target/transformers/venv unless FOLDER is given, and kept for the next time.
# Exit codes: 0 all models agree, 1 some don't, 2 it could not be set up.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
venv=$target/transformers/venv
if [ "${1:-}" = --venv ]; then
    venv=${2:?--venv: expected a folder}
    shift 2
fi
wanted=tests/transformers/requirements.txt
# The copy is written last, so that an installation which was cut off is taken up again.
if ! cmp -s "$wanted" "$venv/installed.txt"; then
    python3 -m venv "$venv" || exit 2
    "$venv/bin/python" -m pip install --quiet --requirement "$wanted" || exit 2
    cp "$wanted" "$venv/installed.txt"
fi
cargo build --locked -p bytec || exit 2
# Nothing is fetched: every model is made here.
export HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=
script=agree work=models
if [ "${1:-}" = archives ]; then
    script=archives work=archives
    shift
fi
exec "$venv/bin/python" "tests/transformers/$script.py" --bytec "$target/debug/bytec" --work "$target/transformers/$work" "$@"
