#!/usr/bin/env bash
# The server's publisher at mosquitto, on loopback: a door is found by what Home Assistant asks for, its state is kept, and
# the broker says that it is offline when the program dies. Fails where mosquitto cannot be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"

for tool in mosquitto mosquitto_sub; do
    command -v "$tool" >/dev/null || {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto mosquitto-clients >/dev/null
        break
    }
done
cargo build -q -p godvision-server
work="$(mktemp -d "${TMPDIR:-/tmp}/godvision-mqtt.XXXXXX")"
chmod 755 "$work"
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" > "$work/mosquitto.conf"
mosquitto -c "$work/mosquitto.conf" > "$work/mosquitto.log" 2>&1 &
pids+=($!)

mkdir "$work/data"
cat > "$work/data/site.toml" <<SITE
version = 1
site = "home"

[[component]]
name = "yard/gate"
unit = "door"
params = { relay = "simulated://" }

[[component]]
name = "mqtt"
unit = "mqtt"
params = { broker = "127.0.0.1:$port" }

[[link]]
from = "yard/gate#alarms"
to = "mqtt#alarms"

[[link]]
from = "yard/gate#events"
to = "mqtt#events"
SITE
"$CARGO_TARGET_DIR/debug/godvision-server" run --data "$work/data" --listen 127.0.0.1:0 > "$work/server.log" 2>&1 &
server=$!
pids+=("$server")

# heard TOPIC TEXT: what the broker keeps there holds the text, soon.
heard() {
    local said=""
    for _ in $(seq 30); do
        said="$(mosquitto_sub -h 127.0.0.1 -p "$port" -t "$1" -C 1 -W 1 2>/dev/null || true)"
        case "$said" in *"$2"*) return 0 ;; esac
        sleep 0.2
    done
    echo "$1: expected \"$2\", heard \"$said\"" >&2
    tail -20 "$work/server.log" "$work/mosquitto.log" >&2
    return 1
}
heard godvision/available online
heard godvision/door/yard/gate/state locked
heard 'homeassistant/sensor/+/state/config' '"state_topic":"godvision/door/yard/gate/state"'
heard 'homeassistant/event/+/alarm/config' '"event_types"'
# Whatever anybody publishes, the door stays as it is.
for topic in godvision/door/yard/gate/set godvision/door/yard/gate/state homeassistant/status; do
    mosquitto_pub -h 127.0.0.1 -p "$port" -t "$topic" -m OPEN
done
mosquitto_pub -h 127.0.0.1 -p "$port" -t homeassistant/status -m online
heard godvision/door/yard/gate/state locked
kill -9 "$server"
heard godvision/available offline
echo "the door is found, its state kept, nothing obeyed, and its end told"
