#!/usr/bin/env bash
# The program `compare` against the peers that Debian has: every question is asked once, briefly, and everybody must have
# answered and recorded. Figures are printed, none is judged. Arguments: the camera script and its clips (not used: the
# cameras are our own RTSP server, so that it is measured too).
set -euo pipefail
cd "$(dirname "$0")/../.."
shared="${GODVISION_SHARED:-$PWD/../shared}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"
cargo build --release -p godvision-benches --bin compare
compare="$CARGO_TARGET_DIR/release/compare"
tables="$(mktemp)"
trap 'rm -f "$tables"' EXIT

"$compare" list
for question in decode record detect; do
    "$compare" "$question" --rounds 1 --seconds 10 --cameras 2 --shared "$shared" | tee "$tables"
    ! grep -q "| failed |" "$tables" || { echo "$question: a contender failed" >&2; exit 1; }
    grep -q "^| godvision" "$tables" || { echo "$question: we are not in the table" >&2; exit 1; }
done
for peer in ffmpeg motion; do
    grep -q "^| $peer" "$tables" || { echo "detect: $peer did not take part" >&2; exit 1; }
done
! "$compare" nonsense 2>/dev/null || { echo "an unknown question was taken" >&2; exit 1; }
