#!/usr/bin/env bash
# A door of a whole server: a plate read by the real recogniser, which is too large for the repository, opens with a PIN and
# never alone. How long doors take is not judged here: `cargo run --release -p godvision-server --example door_latency` prints
# it, and with `--check` fails over the bars. Arguments are those of the other checks, and not used.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 godvision-vision/models/fetch.py "$work/models"
GODVISION_PLATE_MODELS="$work/models" \
    cargo test -p godvision-server --test doors_open_by_what_a_camera_sees a_plate_opens_with_a_pin_and_never_alone
