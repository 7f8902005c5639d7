#!/usr/bin/env bash
# Our RTSP server against ffmpeg and GStreamer: every decoded frame equals the file's, over TCP and UDP; passwords right
# and wrong; our decoder's pictures against ffmpeg's. Fails where ffmpeg or GStreamer is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
clip=examples/server/assets/demo/yard.h264
h265=godvision-rtsp/tests/data/plain.h265
for program in ffmpeg ffprobe /usr/bin/python3; do
    command -v "$program" >/dev/null || { echo "restream.sh: $program is missing" >&2; exit 1; }
done
/usr/bin/python3 -c 'import gi; gi.require_version("Gst", "1.0"); from gi.repository import Gst; Gst.init(None); assert Gst.ElementFactory.find("rtspsrc")' ||
    { echo "restream.sh: GStreamer with rtspsrc (gstreamer1.0-plugins-good, python3-gi) is missing" >&2; exit 1; }

cargo build --quiet --release -p godvision-rtsp --example serve --example frame_hashes
bin="${CARGO_TARGET_DIR:-target}/release/examples"
work="$(mktemp -d)"
servers=()
finish() {
    for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || :; done
    rm -rf "$work"
}
trap finish EXIT

# start NAME ARGUMENTS...: starts a server; its address comes into $url.
start() {
    local name="$1"
    shift
    "$bin/serve" "$@" --listen 127.0.0.1:0 >"$work/$name" &
    servers+=($!)
    for _ in $(seq 100); do
        url="$(sed -n 's/^ready //p' "$work/$name")"
        [ -z "$url" ] || return 0
        sleep 0.1
    done
    echo "restream.sh: the server $name is not ready" >&2
    exit 1
}

# hashes INPUT...: one MD5 a decoded frame.
hashes() {
    ffmpeg -hide_banner -loglevel error -nostdin "$@" -map 0:v -fps_mode passthrough -pix_fmt yuv420p -f framemd5 - |
        sed -n 's/^[0-9].*, *\([0-9a-f]\{32\}\)$/\1/p'
}

# follows FILE_HASHES SEEN GROUP WANT: the seen frames are the file's, without a gap, from a key frame on.
follows() {
    /usr/bin/python3 - "$@" <<'PY'
import sys
file, seen = ([line.strip() for line in open(name)] for name in sys.argv[1:3])
group, want = int(sys.argv[3]), int(sys.argv[4])
if len(seen) < want:
    sys.exit(f"only {len(seen)} of {want} frames came")
for first in range(0, len(file), group):
    if all(hash == file[(first + index) % len(file)] for index, hash in enumerate(seen)):
        print(f"    {len(seen)} frames equal the file's, from frame {first} on")
        sys.exit(0)
firsts = [index for index, hash in enumerate(file) if hash == seen[0]]
longest = 0
for first in firsts:
    length = 0
    while length < len(seen) and seen[length] == file[(first + length) % len(file)]:
        length += 1
    longest = max(longest, length)
sys.exit(f"the frames are not the file's: first found at {firsts[:5]}, differ after {longest} of {len(seen)}")
PY
}

echo "decoder: our pictures of the demo clip and of $h265 equal ffmpeg's"
hashes -r 25 -i "$clip" >"$work/clip.md5"
hashes -i "$h265" >"$work/h265.md5"
"$bin/frame_hashes" "$clip" | sed 's/.*, //' >"$work/ours.md5"
cmp "$work/clip.md5" "$work/ours.md5"
"$bin/frame_hashes" "$h265" | sed 's/.*, //' | cmp "$work/h265.md5" -
echo "    $(wc -l <"$work/clip.md5") and $(wc -l <"$work/h265.md5") pictures are byte-identical"

start plain "$clip" --fps 30
for transport in tcp udp; do
    echo "ffmpeg over $transport, H.264"
    hashes -rtsp_transport "$transport" -i "$url" -frames:v 240 >"$work/seen"
    follows "$work/clip.md5" "$work/seen" 30 240
done

echo "GStreamer over tcp and udp, H.264"
for transport in tcp udp; do
    timeout 60 /usr/bin/python3 - "$url" "$transport" <<'PY'
import sys
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
pipeline = Gst.parse_launch(
    f"rtspsrc location={sys.argv[1]} protocols={sys.argv[2]} latency=200 ! rtph264depay ! h264parse ! avdec_h264 ! fakesink name=sink signal-handoffs=true sync=false")
count = 0
def frame(*_):
    global count
    count += 1
    if count == 150:
        pipeline.post_message(Gst.Message.new_eos(pipeline))
pipeline.get_by_name("sink").connect("handoff", frame)
pipeline.set_state(Gst.State.PLAYING)
message = pipeline.get_bus().timed_pop_filtered(40 * Gst.SECOND, Gst.MessageType.ERROR | Gst.MessageType.EOS)
pipeline.set_state(Gst.State.NULL)
if message is not None and message.type == Gst.MessageType.ERROR:
    sys.exit(f"GStreamer over {sys.argv[2]}: {message.parse_error()}")
if count < 150:
    sys.exit(f"GStreamer over {sys.argv[2]}: only {count} frames")
print(f"    {count} frames decoded over {sys.argv[2]}")
PY
done

start hevc "$h265" --fps 25
for transport in tcp udp; do
    echo "ffmpeg over $transport, H.265"
    hashes -rtsp_transport "$transport" -i "$url" -frames:v 100 >"$work/seen"
    follows "$work/h265.md5" "$work/seen" 1 100
done

start locked "$clip" --fps 30 --user ada --password 'pass word'
echo "digest"
for transport in tcp udp; do
    hashes -rtsp_transport "$transport" -i "rtsp://ada:pass%20word@${url#rtsp://}" -frames:v 60 >"$work/seen"
    follows "$work/clip.md5" "$work/seen" 30 60
done
for login in "" "ada:wrong@" "eve:pass%20word@"; do
    if ffmpeg -hide_banner -loglevel error -nostdin -rtsp_transport tcp -i "rtsp://$login${url#rtsp://}" -frames:v 1 -f null - 2>"$work/refused"; then
        echo "restream.sh: '$login' was let in" >&2
        exit 1
    fi
    grep -q 401 "$work/refused" || { cat "$work/refused" >&2; exit 1; }
    echo "    '$login' gets 401"
done
if ffmpeg -hide_banner -loglevel error -nostdin -rtsp_transport tcp -i "${url%/demo}/none" -frames:v 1 -f null - 2>"$work/refused"; then
    echo "restream.sh: a path that does not exist plays" >&2
    exit 1
fi

start crowd "$clip" --fps 15
crowd="${servers[-1]}"
echo "50 readers at once for 10 s"
used() { awk '{ print $14 + $15 }' "/proc/$crowd/stat"; }
before="$(used)"
readers=()
for number in $(seq 50); do
    ffmpeg -hide_banner -loglevel error -nostdin -rtsp_transport tcp -i "$url" -t 10 -map 0:v -c copy -f null - 2>"$work/reader$number" &
    readers+=($!)
done
for reader in "${readers[@]}"; do wait "$reader"; done
echo "    none failed; the server used $(( ($(used) - before) * 1000 / $(getconf CLK_TCK) )) ms of CPU"
echo "restream: all good"
