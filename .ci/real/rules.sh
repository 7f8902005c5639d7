#!/usr/bin/env bash
# The rule engine beside Cedar at full length: a million random cases and every choice of up to three rules of a small
# world, without one disagreement; then the table of `compare rules`, printed and not judged but for its disagreements.
# Needs nothing installed. Arguments are those of the other checks, and not used.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"
GODVISION_ORACLE_CASES=1000000 cargo test --release -p godvision-benches --test rules_agree_with_cedar -- --nocapture
cargo build --release -p godvision-benches --bin compare
table="$(mktemp)"
trap 'rm -f "$table"' EXIT
"$CARGO_TARGET_DIR/release/compare" rules --rounds 1 | tee "$table"
for contender in "godvision rule engine" "its specification" "cedar-policy"; do
    grep -q "^| $contender.* | 0 |$" "$table" || { echo "rules: $contender is absent or disagrees" >&2; exit 1; }
done

# The example that anybody can hold against another engine.
rules="$(mktemp)"
trap 'rm -f "$table" "$rules"' EXIT
printf 'version = 1\n[[rule]]\nname = "staff"\npermit = ["ada"]\ndoors = ["any"]\nby = ["card", "pin+face"]\n' > "$rules"
answers="$(printf 'ada gate 2026-11-16T09:00:00Z\nada gate 2026-11-16T09:00:00Z pin\nada gate 2026-11-16T09:00:00Z pin+face\n' |
    cargo run --quiet --release -p godvision-access --example decide -- "$rules")"
[ "$answers" = "$(printf 'admit permitted staff\nrefuse not_enough -\nadmit permitted staff')" ] ||
    { echo "the example decide answers otherwise: $answers" >&2; exit 1; }
