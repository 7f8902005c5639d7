#!/usr/bin/env bash
# godvision-rtsp against GStreamer's RTSP server: every mount over TCP and UDP, recordings compared with their sources,
# a stopped server, a killed and restarted server, wrong passwords, wrong paths. Needs ffmpeg and the server's packages.
#
#   .ci/real/rtsp.sh SERVE.PY CLIPS
set -euo pipefail
serve=${1:?path of serve.py} clips=${2:?folder of clips}
cd "$(dirname "$0")/../.."
target="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"
export CARGO_TARGET_DIR="$target"
cargo build -q -p godvision-rtsp --example watch
watch="$target/debug/examples/watch"

work=$(mktemp -d)
server="" watcher=""
cleanup() {
    for pid in $server $watcher; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*" >&2; [ -f "$work/log" ] && tail -20 "$work/log" >&2; exit 1; }
ok() { printf 'ok  %s\n' "$*"; }
now_ms() { date +%s%3N; }
free_port() { /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start PORT [ARGS]: the camera; returns when it listens.
start() {
    local port=$1
    shift
    : > "$work/ready"
    /usr/bin/python3 "$serve" "$port" "$clips" "$@" > "$work/ready" 2> "$work/server" &
    server=$!
    for _ in $(seq 200); do
        grep -q ready "$work/ready" && return
        kill -0 "$server" 2>/dev/null || fail "the camera server ended: $(cat "$work/server")"
        sleep 0.05
    done
    fail "the camera server does not get ready"
}
stop() {
    { kill -KILL "$server" && wait "$server"; } 2>/dev/null || true
    server=""
}

# wait_line PATTERN SECONDS [FROM_LINE]: prints the milliseconds it took.
wait_line() {
    local began
    began=$(now_ms)
    while [ $(($(now_ms) - began)) -lt $(($2 * 1000)) ]; do
        if tail -n "+${3:-1}" "$work/log" | grep -q -- "$1"; then
            echo $(($(now_ms) - began))
            return
        fi
        sleep 0.02
    done
    return 1
}
value() { grep '^summary ' "$1" | tr ' ' '\n' | sed -n "s/^$2=//p"; }
expect() { [ "$(value "$work/log" "$1")" = "$2" ] || fail "$3: $1 is $(value "$work/log" "$1"), not $2"; }
frames_of() { ffprobe -v error -select_streams v -count_packets -show_entries stream=nb_read_packets -of csv=p=0 "$1"; }
# hash and size of every coded frame
coded() { ffmpeg -v error -i "$1" -map 0:v -c copy -f framehash - | awk -F, '!/^#/ { print $5, $6 }'; }

port=$(free_port)
url="rtsp://127.0.0.1:$port"
start "$port"

echo "every mount that ends, over TCP: nothing lost, the file equals the source"
for mount in h264.mp4 h265.mp4 mjpeg.mkv h264_aac.mp4; do
    name=${mount%.*}
    source="$clips/$mount"
    [ -f "$source" ] || fail "no clip $source"
    count=$(frames_of "$source")
    "$watch" "$url/$name" --seconds 30 --once --transport tcp --record "$work/$name.mp4" > "$work/log" 2>&1 || fail "$name over TCP"
    expect packets "$count" "$name over TCP"
    expect lost 0 "$name over TCP"
    expect transport TCP "$name over TCP"
    [ "$(frames_of "$work/$name.mp4")" = "$count" ] || fail "$name: the file holds $(frames_of "$work/$name.mp4") of $count frames"
    length=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$work/$name.mp4")
    awk -v l="$length" -v c="$count" 'BEGIN { exit !(l - c / 25 < 0.05 && c / 25 - l < 0.05) }' || fail "$name: the file lasts $length s"
    errors=$(ffmpeg -v error -i "$work/$name.mp4" -f null - 2>&1)
    [ -z "$errors" ] || fail "$name: the file does not decode: $errors"
    keys=$(ffprobe -v error -select_streams v -show_entries packet=flags -of csv=p=0 "$work/$name.mp4" | grep -c '^K' || true)
    [ "$keys" = "$(value "$work/log" keys)" ] || fail "$name: $keys key frames are marked, not $(value "$work/log" keys)"
    same="(RTP rewrites JPEG headers, so only the count is compared)"
    if [ "$name" != mjpeg ]; then
        coded "$source" > "$work/source.hash"
        coded "$work/$name.mp4" > "$work/file.hash"
        cmp -s "$work/source.hash" "$work/file.hash" || fail "$name: coded frames differ: $(diff "$work/source.hash" "$work/file.hash" | head -4)"
        same="(hash of every coded frame equal)"
    fi
    ok "$name: $count frames, $keys keys, $length s $same"
done

echo "long mounts over TCP"
for name in main sub; do
    "$watch" "$url/$name" --seconds 6 --transport tcp > "$work/log" 2>&1 || fail "$name"
    expect lost 0 "$name"
    expect sessions 1 "$name"
    [ "$(value "$work/log" packets)" -ge 140 ] || fail "$name: $(value "$work/log" packets) frames in 6 s"
    ok "$name: $(value "$work/log" packets) frames in 6 s, delay $(value "$work/log" delay_ms) ms, sender clock $(value "$work/log" sender_clock)"
done

echo "every mount over UDP: what is lost is counted, what is left can be decoded, and a mount that cannot be had so goes to TCP"
clean=0
for name in h264 h265 mjpeg h264_aac main sub; do
    "$watch" "$url/$name" --seconds 12 --once --transport udp --record "$work/$name.mp4" > "$work/log" 2>&1 || fail "$name over UDP"
    [ "$(value "$work/log" frames)" -ge 90 ] || fail "$name over UDP: $(value "$work/log" frames) frames came"
    packets=$(value "$work/log" packets) lost=$(value "$work/log" lost) waited=$(value "$work/log" dropped_awaiting_key)
    # Key frames of 1080p at 4 Mbit/s are bursts of 100 KB and more, which a default receive buffer loses on a busy host.
    # A frame is missing only where RTP packets are; a camera all of whose key frames suffer is asked over TCP next.
    [ "$lost" -gt 0 ] || [ "$packets" -ge 90 ] || fail "$name over UDP: $packets frames, though nothing was lost"
    how="stays on UDP"
    if [ "$(value "$work/log" transport)" = TCP ]; then
        how="goes to TCP"
        expect transport_changes 1 "$name over UDP"
        [ "$lost" -gt 0 ] || fail "$name over UDP goes to TCP, though nothing was lost"
        grep -q '\[udp_lossy\]' "$work/log" || fail "$name over UDP goes to TCP and does not say why"
    fi
    [ "$packets" -lt 90 ] || clean=$((clean + 1))
    errors=""
    [ "$packets" = 0 ] || errors=$(ffmpeg -v error -i "$work/$name.mp4" -f null - 2>&1)
    [ -z "$errors" ] || fail "$name over UDP: what was recorded does not decode: $errors"
    ok "$name over UDP: $packets frames, $lost RTP packets lost, $waited frames waited for a key frame, $how"
done
[ "$clean" -gt 0 ] || fail "not one mount brings 90 frames over UDP"

echo "a stopped server"
# The watchdog's 3 s, and what a busy host adds before the line is written: the best of three tries is judged.
for try in 1 2 3; do
    "$watch" "$url/main" --seconds 60 > "$work/log" 2>&1 &
    watcher=$!
    wait_line " online " 10 > "$work/ms" || fail "main does not come online"
    sleep 3
    kill -STOP "$server"
    noticed=$(wait_line "stalled \[stalled\]" 10) || fail "a stopped server is not noticed"
    [ "$noticed" -gt 3200 ] && [ "$try" -lt 3 ] || break
    kill -CONT "$server"
    { kill -KILL "$watcher" && wait "$watcher"; } 2>/dev/null || true
done
[ "$noticed" -le 3200 ] || fail "a stopped server is noticed after $noticed ms"
ok "SIGSTOP noticed after $noticed ms"
lines=$(wc -l < "$work/log")
kill -CONT "$server"
back=$(wait_line " online " 15 $((lines + 1))) || fail "frames do not come back after SIGCONT"
ok "frames again $back ms after SIGCONT"

echo "a killed server"
sleep 6 # Healthy again: the back-off starts anew.
lines=$(wc -l < "$work/log")
stop
lost=$(wait_line "waiting to reconnect" 5 $((lines + 1))) || fail "a killed server is not noticed"
sleep 2
lines=$(wc -l < "$work/log")
start "$port"
back=$(wait_line " online " 15 $((lines + 1))) || fail "frames do not come back after a restart"
# After 2 s of refusals the next wait is at most 4 s; the group of pictures lasts 2 s.
[ "$back" -le 6000 ] || fail "frames are back $back ms after the restart"
ok "SIGKILL noticed after $lost ms, frames again $back ms after the restart"
{ kill -KILL "$watcher" && wait "$watcher"; } 2>/dev/null || true
watcher=""

echo "wrong paths and ports"
"$watch" "$url/nothing" --seconds 3 > "$work/log" 2>&1 || fail "a wrong path"
[ "$(grep -c 'needs attention \[not_found\]' "$work/log")" = 1 ] || fail "a wrong path is not said once"
expect failed_tries 1 "a wrong path"
"$watch" "rtsp://127.0.0.1:$(free_port)/main" --seconds 2 > "$work/log" 2>&1 || fail "a wrong port"
[ "$(grep -c '\[refused\]' "$work/log")" = 1 ] || fail "a wrong port is not said once"
ok "a wrong path and a wrong port are said once each"

echo "passwords"
stop
port=$(free_port)
start "$port" --user admin --password canary-right
"$watch" "rtsp://admin:canary-wrong@127.0.0.1:$port/sub" --seconds 8 > "$work/log" 2>&1 || fail "a wrong password"
[ "$(grep -c 'needs attention \[auth_failed\]' "$work/log")" = 1 ] || fail "a wrong password is not said once"
expect failed_tries 1 "a wrong password"
grep -q canary "$work/log" && fail "a password was printed"
"$watch" "rtsp://127.0.0.1:$port/sub" --seconds 2 > "$work/log" 2>&1 || fail "no password"
[ "$(grep -c 'needs attention \[auth_missing\]' "$work/log")" = 1 ] || fail "a missing password is not said once"
"$watch" "rtsp://admin:canary-right@127.0.0.1:$port/sub" --seconds 3 > "$work/log" 2>&1 || fail "the right password"
[ "$(value "$work/log" packets)" -ge 50 ] || fail "the right password brings $(value "$work/log" packets) frames"
grep -q canary "$work/log" && fail "a password was printed"
ok "digest: the right password works, a wrong and a missing one are said once, tried once and never printed"
echo "all ok"
