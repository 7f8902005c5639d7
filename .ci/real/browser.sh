#!/bin/sh
# Tests with a real browser: frame-to-pixel latency of the live view, and a walk through every page of the demo.
#
# Needs node, npm and a Chromium (Debian: apt-get install chromium nodejs npm; CHROMIUM names another). Fails where one of
# them is missing: these tests never pass by being skipped. SCREENSHOTS names the folder for pictures of every page.
set -eu
cd "$(dirname "$0")/../.."
chromium=${CHROMIUM:-/usr/bin/chromium}
playwright=1.65.1
shots=${SCREENSHOTS:-${CARGO_TARGET_DIR:-target}/screenshots}
for program in node npm "$chromium"; do
    command -v "$program" >/dev/null || { echo "browser.sh: $program is missing" >&2; exit 1; }
done
export CHROMIUM="$chromium"
# Installed without a lock file: it has no dependencies of its own, and a lock would name a registry.
if [ "$(node -p "require('./examples/server/e2e/node_modules/playwright-core/package.json').version" 2>/dev/null)" != "$playwright" ]; then
    npm install --prefix examples/server/e2e --no-save --no-audit --no-fund --silent "playwright-core@$playwright"
fi

# `cargo test` has built the first already, `demo --check` the second.
cargo build -p godvision-server --example live_bench
cargo build --release -p godvision-server
target=${CARGO_TARGET_DIR:-target}

echo "== latency"
node examples/server/e2e/latency.mjs "$target/debug/examples/live_bench" 15

echo "== walk"
work=$(mktemp -d)
demo=
trap 'if [ -n "$demo" ]; then kill "$demo" 2>/dev/null || :; wait "$demo" 2>/dev/null || :; fi; rm -rf "$work"' EXIT
port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
GODVISION_ADMIN_PASSWORD=$(node -p 'require("crypto").randomBytes(12).toString("hex")')
export GODVISION_ADMIN_PASSWORD
"$target/release/godvision-server" demo --listen "127.0.0.1:$port" --data "$work/data" >"$work/log" 2>&1 &
demo=$!
node examples/server/e2e/ready.mjs "http://127.0.0.1:$port" "$demo" || { cat "$work/log" >&2; exit 1; }
mkdir -p "$shots"
node examples/server/e2e/walk.mjs "http://127.0.0.1:$port" "$GODVISION_ADMIN_PASSWORD" "$shots" || {
    echo "--- the demo's last words:" >&2
    tail -n 60 "$work/log" >&2
    exit 1
}
kill -0 "$demo" || { echo "browser.sh: the demo died during the walk" >&2; exit 1; }
echo "screenshots: $shots"
