#!/usr/bin/env bash
# Doors of a whole server: a plate read by the real recogniser, which is too large for the repository, opens with a PIN; then how
# long from a frame with a pass, from the frame that made a face known and alive, and from the last key of a PIN, to the command on
# the relay's wire: printed, and judged only by whether they opened. Arguments are those of the other checks, and not used.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 godvision-vision/models/fetch.py "$work/models"
GODVISION_PLATE_MODELS="$work/models" \
    cargo test -p godvision-server --test doors_open_by_what_a_camera_sees a_plate_opens_with_a_pin_and_never_alone
cargo build --release -p godvision-server --example door_latency
"$CARGO_TARGET_DIR/release/examples/door_latency" --rounds 40
