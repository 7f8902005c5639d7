#!/usr/bin/env bash
# The relay drivers against programs of others, on loopback: a device behind mosquitto, pymodbus as a board that keeps to
# the standard, and our fake ESPHome device under ESPHome's own client. Fails where one of them cannot be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"

for tool in mosquitto mosquitto_sub; do
    command -v "$tool" >/dev/null || {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto mosquitto-clients python3-venv >/dev/null
        break
    }
done
cargo build -q -p godvision-access --features fieldbus-testkit,modbus,mqtt,esphome,onvif,usr-r16 --example relay --example fake_boards
relay="$CARGO_TARGET_DIR/debug/examples/relay"

work="$(mktemp -d "${TMPDIR:-/tmp}/godvision-relays.XXXXXX")"
chmod 755 "$work"
pids=()
cleanup() {
    for pid in "${pids[@]}"; do
        for child in $(pgrep -P "$pid"); do kill "$child" 2>/dev/null || true; done
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install 'pymodbus==3.16.1' 'aioesphomeapi==46.23.0'
python="$work/venv/bin/python"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() {
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
        sleep 0.1
    done
    echo "nothing listens on port $1" >&2
    return 1
}
# expect TEXT COMMAND...: the command's words hold the text, whether it succeeds or not.
expect() {
    local said
    said="$("${@:2}" 2>&1 || true)"
    case "$said" in *"$1"*) ;; *) echo "expected \"$1\", got \"$said\"" >&2; return 1 ;; esac
}

echo "a device behind mosquitto"
broker="$(free_port)"
mosquitto_passwd -b -c "$work/passwords" door word >/dev/null 2>&1
chmod 644 "$work/passwords"
printf 'listener %s 127.0.0.1\nallow_anonymous false\npassword_file %s\n' "$broker" "$work/passwords" > "$work/mosquitto.conf"
mosquitto -c "$work/mosquitto.conf" > "$work/mosquitto.log" 2>&1 &
pids+=($!)
wait_for "$broker"
tell() { mosquitto_pub -h 127.0.0.1 -p "$broker" -u door -P word "$@"; }
# The worst kind of device for a door: it keeps its session, so the broker keeps for it what it may.
device() {
    mosquitto_sub -h 127.0.0.1 -p "$broker" -u door -P word -i gate -c -q 1 -v -t gate/0/set -t gate/0/get |
        while read -r topic payload; do
            echo "$topic $payload" >> "$work/commands"
            [ "$topic" = gate/0/get ] || state="$payload"
            tell -t gate/0/state -m "${state:-OFF}"
        done
}
device & pids+=($!)
for _ in $(seq 50); do grep -q "as gate" "$work/mosquitto.log" && break; sleep 0.1; done
topics='command=gate/0/set&state=gate/0/state&get=gate/0/get'
at="mqtt://door:word@127.0.0.1:$broker/?$topics"
expect off "$relay" "$at" status
expect "switched on" "$relay" "$at" on
expect on "$relay" "$at" status
expect "switched off" "$relay" "$at" off
expect off "$relay" "$at" status
expect "refused the user name or password" "$relay" "mqtt://door:wrong@127.0.0.1:$broker/?$topics" on
# The device goes away; what it is told now must never reach it.
gone="$(pgrep -P "${pids[-1]}" mosquitto_sub)"
kill "$gone"
sleep 0.3
before="$(wc -l < "$work/commands")"
expect "did not answer" "$relay" "$at&timeout_ms=500" on
device & pids+=($!)
for _ in $(seq 50); do [ "$(grep -c "as gate" "$work/mosquitto.log")" -ge 2 ] && break; sleep 0.1; done
sleep 0.3
[ "$(wc -l < "$work/commands")" = "$before" ] || { echo "a command was delivered late" >&2; exit 1; }
expect off "$relay" "$at" status

echo "pymodbus as a standard board, Modbus TCP and RTU over TCP"
cat > "$work/board.py" <<'PY'
import asyncio, sys
from pymodbus import FramerType
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import StartAsyncTcpServer

framer = FramerType.SOCKET if sys.argv[2] == "tcp" else FramerType.RTU
board = ModbusDeviceContext(co=ModbusSequentialDataBlock(1, [False] * 8), di=ModbusSequentialDataBlock(1, [False, True] * 4))
asyncio.run(StartAsyncTcpServer(ModbusServerContext(devices={1: board}, single=False), framer=framer, address=("127.0.0.1", int(sys.argv[1]))))
PY
for wire in tcp rtutcp; do
    port="$(free_port)"
    "$python" "$work/board.py" "$port" "$wire" > "$work/board-$wire.log" 2>&1 &
    pids+=($!)
    wait_for "$port" || { cat "$work/board-$wire.log" >&2; exit 1; }
    at="modbus+$wire://127.0.0.1:$port/?channels=8&inputs=8"
    expect off "$relay" "$at" status 3
    expect "begun; who ends it: Host" "$relay" "$at" pulse 3 1
    expect on "$relay" "$at" status 3
    expect off "$relay" "$at" status 2
    expect "switched off" "$relay" "$at" off 3
    expect off "$relay" "$at" status 3
    expect off "$relay" "$at" input 0
    expect on "$relay" "$at" input 1
    expect "illegal data address" "$relay" "modbus+$wire://127.0.0.1:$port/?first_coil=4096" status
done

echo "ESPHome's client against our fake device"
mkfifo "$work/hold"
exec 4<>"$work/hold"
"${relay%/relay}/fake_boards" < "$work/hold" > "$work/fakes" 2>&1 &
pids+=($!)
for _ in $(seq 50); do grep -q usr-r16 "$work/fakes" && break; sleep 0.1; done
cat > "$work/client.py" <<'PY'
import asyncio, base64, sys
import aioesphomeapi

async def main(port):
    key = base64.b64encode(bytes([42] * 32)).decode()
    client = aioesphomeapi.APIClient("127.0.0.1", port, None, noise_psk=key)
    await client.connect(login=True)
    entities, _ = await client.list_entities_services()
    by_name = {entity.name: entity for entity in entities}
    switch, button, contact = by_name["Gate 1"], by_name["Gate 1 pulse"], by_name["Contact 1"]
    states = {}
    client.subscribe_states(lambda state: states.__setitem__(state.key, state.state))
    await asyncio.sleep(0.3)
    assert states == {switch.key: False, contact.key: False}, states
    client.switch_command(switch.key, True)
    await asyncio.sleep(0.3)
    assert states[switch.key] is True, states
    client.switch_command(switch.key, False)
    await asyncio.sleep(0.3)
    assert states[switch.key] is False, states
    client.button_command(button.key)
    await asyncio.sleep(0.3)
    assert states[switch.key] is True, states
    await client.disconnect()
    wrong = aioesphomeapi.APIClient("127.0.0.1", port, None, noise_psk=base64.b64encode(bytes(32)).decode())
    try:
        await wrong.connect(login=True)
        raise SystemExit("a wrong key was accepted")
    except aioesphomeapi.InvalidEncryptionKeyAPIError:
        pass

asyncio.run(main(int(sys.argv[1])))
PY
esphome="$(grep '^esphome:' "$work/fakes")"
port="${esphome##*@127.0.0.1:}"
timeout 60 "$python" "$work/client.py" "${port%%/*}"
expect on "$relay" "$esphome" status

echo "relays: all as expected"
