#!/usr/bin/env bash
# How long from a frame with a pass, and from the last key of a PIN, to the command on the relay's wire: printed, and judged
# only by whether every pass and every PIN opened. Needs nothing installed. Arguments are those of the other checks, and not
# used.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"
cargo build --release -p godvision-benches --bin door_latency
"$CARGO_TARGET_DIR/release/door_latency" --rounds 40
