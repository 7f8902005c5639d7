#!/usr/bin/env python3
"""The server beside real servers: a camera (GStreamer's RTSP server), an FTP server (vsftpd), SIGSTOP, SIGKILL.

  server.py SERVER CAMERA_SCRIPT CLIPS FTP_URL FTP_ROOT [--kills N]

SERVER is the godvision-server binary; FTP_URL its archive, whose files lie under FTP_ROOT on this computer.
Prints one line a check and exits 1 at the first that fails. Needs nothing beyond the standard library, ffmpeg and ffprobe.
"""
import argparse
import collections
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

PASSWORD = "correct horse battery"
CAMERA_PASSWORD = "canary-Wk7-camera"
ENVIRONMENT = {**os.environ, "GODVISION_ADMIN_PASSWORD": PASSWORD}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def passed(text):
    print(f"  ok  {text}", flush=True)


def require(condition, text):
    if not condition:
        print(f"FAIL  {text}", flush=True)
        raise SystemExit(1)


def wait_for(what, seconds, probe, every=0.1):
    """The first truthy answer of probe, and how long it took; fails after so many seconds."""
    began = time.monotonic()
    while True:
        answer = probe()
        if answer:
            return answer, time.monotonic() - began
        if time.monotonic() - began > seconds:
            require(False, f"{what}: not within {seconds} s")
        time.sleep(every)


class Camera:
    """GStreamer's RTSP server in a process of its own."""

    def __init__(self, script, clips, port, password=None):
        self.command = ["/usr/bin/python3", script, str(port), clips]
        if password:
            self.command += ["--user", "viewer", "--password", password]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        require(self.process.stdout.readline().strip() == "ready", "the camera starts")

    def send(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Server:
    """One run of godvision-server on a data folder."""

    def __init__(self, binary, data, cameras, archive):
        # The same command every time: after the first run the data folder is not empty and its site document counts.
        command = [binary, "run", "--data", data, "--listen", "127.0.0.1:0"]
        for name, url in cameras.items():
            command += ["--camera", f"{name}={url}"]
        if archive:
            command += ["--archive", archive]
        self.log = open(os.path.join(data + ".log"), "ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=ENVIRONMENT)
        self.port = None
        for line in self.process.stdout:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        require(self.port, f"the server prints its address (its log is {self.log.name})")
        self.token = None
        answer = self.call("POST", "/api/v1/login", {"name": "admin", "password": PASSWORD})
        self.token = answer["token"]

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = dict(headers or {})
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content

    def call(self, method, path, body=None):
        status, content = self.request(method, path, body)
        require(200 <= status < 300, f"{method} {path} answers {status}: {content[:300]!r}")
        return json.loads(content) if content else None

    def cameras(self):
        return {camera["id"]: camera for camera in self.call("GET", "/api/v1/cameras")["cameras"]}

    def clips(self):
        return self.call("GET", "/api/v1/clips?limit=500")["clips"]

    def journal(self, **query):
        return self.call("GET", "/api/v1/journal?" + urllib.parse.urlencode({"limit": 500, **query}))["entries"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


def prepare(binary, data, cameras, archive, max_length):
    """Fills the data folder as the first run does, then sets the recorders' longest clip in the site document: the
    plaza in the clips is never at rest, and the default of 5 minutes is longer than this test."""
    Server(binary, data, cameras, archive).stop()
    site = pathlib.Path(data, "site.toml")
    text = site.read_text()
    require('unit = "recorder"' in text, "the first run writes a site document with recorders")
    text = text.replace('unit = "recorder"', f'unit = "recorder"\nparams = {{ max_length = {max_length} }}')
    # The main stream is recorded on what moves in the sub-stream, as the README advises.
    if "main" in cameras and "sub" in cameras:
        require('"motion/main#motion"' in text, "the site document links motion to recorders")
        text = text.replace('"motion/main#motion"', '"motion/sub#motion"')
    site.write_text(text)
    done = subprocess.run([binary, "check", str(site)], capture_output=True, text=True)
    require(done.returncode == 0, f"the edited site document passes its check: {done.stderr}")


def frames(path, codec):
    """One hash a coded frame, parameter sets and messages left out: servers repeat those as they like."""
    remove = {"h264": "filter_units=remove_types=6-9", "hevc": "filter_units=remove_types=32-35|39-40"}.get(codec)
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(path), "-map", "0:v:0", "-c", "copy"]
    if remove:
        command += ["-bsf:v", remove]
    output = subprocess.run(command + ["-f", "framemd5", "-"], capture_output=True, text=True, check=True).stdout
    return [line.split(",")[-1].strip() for line in output.splitlines() if line and not line.startswith("#")]


def probe(path):
    command = ["ffprobe", "-v", "error", "-count_packets", "-show_streams", "-show_format", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    require(done.returncode == 0 and not done.stderr.strip(), f"ffprobe reads {path}: {done.stderr.strip()[:300]}")
    return json.loads(done.stdout)


def packets(path):
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0", str(path)]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return [(float(row.split(",")[0]), "K" in row.split(",")[1]) for row in rows]


def contained(part, whole):
    """Whether part runs through whole (which repeats) without a gap."""
    if not part:
        return False
    starts = [i for i, value in enumerate(whole) if value == part[0]]
    return any(all(value == whole[(i + k) % len(whole)] for k, value in enumerate(part)) for i in starts)


def published(root):
    """Files under their final names."""
    return {p.relative_to(root).as_posix(): p for p in pathlib.Path(root).rglob("*.mp4")}


def check_all_mounts(args, work):
    """Every kind of stream plays and records with nothing lost; clips equal the source's frames."""
    port = free_port()
    camera = Camera(args.camera, args.clips, port, CAMERA_PASSWORD)
    url = f"rtsp://viewer:{CAMERA_PASSWORD}@127.0.0.1:{port}"
    mounts = {"main": "main", "sub": "sub", "h265": "h265", "mjpeg": "mjpeg", "aac": "h264_aac"}
    urls = {name: f"{url}/{mount}" for name, mount in mounts.items()}
    prepare(args.server, f"{work}/mounts", urls, args.ftp_url, 15)
    server = Server(args.server, f"{work}/mounts", urls, args.ftp_url)
    try:
        online = lambda: all(c["counters"].get("frames", 0) > 50 for c in server.cameras().values())
        wait_for("all cameras deliver frames", 40, online)
        check_edits(server, f"{work}/mounts/site.toml")
        for name, it in sorted(server.cameras().items()):
            lost = it["counters"]["lost_packets"]
            require(lost == 0, f"{name}: {lost} packets lost over TCP")
            passed(f"{name}: {it['format']['codec']} {it['format']['width']}x{it['format']['height']}, "
                   f"{it['counters']['frames']} frames, 0 lost")
        archived = lambda: {c["camera"] for c in server.clips() if c["state"] == "archived"} >= {"main", "sub", "h265", "aac"}
        wait_for("a clip of every moving camera is archived", 150, archived, 1)
        first = {}
        for clip in server.clips():
            if clip["state"] == "archived":
                first[clip["camera"]] = clip
        for name, codec, source in [("main", "h264", "h264.mp4"), ("sub", "h264", "sub.mp4"), ("h265", "hevc", "h265.mp4"),
                                    ("aac", "h264", "h264_aac.mp4")]:
            check_clip(args, server, first[name], codec, f"{args.clips}/{source}")
        status, text = server.request("GET", "/metrics")
        require(status == 200 and b"godvision_port_accepted_total" in text, "the metrics are served")
        refused = [line for line in text.decode().splitlines() if "dropped_total" in line and "recorder" in line]
        require(not refused, f"no fragment is lost on its way to a recorder: {refused}")
        secrets = [CAMERA_PASSWORD.encode(), PASSWORD.encode()]
        for path in ["/api/v1/cameras", "/api/v1/journal?limit=500", "/api/v1/clips", "/metrics", "/cameras", "/journal"]:
            content = server.request("GET", path)[1]
            require(not any(secret in content for secret in secrets), f"{path} shows no password")
        require(server.stop() == 0, "SIGTERM ends the server with 0")
        for path in pathlib.Path(f"{work}/mounts").rglob("*"):
            if path.is_file():
                require(not any(secret in path.read_bytes() for secret in secrets), f"{path} holds no password in clear")
        require(CAMERA_PASSWORD.encode() not in open(server.log.name, "rb").read(), "the log holds no password")
        passed("no password in pages, API, journal, log or data folder; SIGTERM ends it with 0")
    finally:
        server.process.kill()
        camera.kill()


def check_edits(server, path):
    """The site document is edited while it runs: an error is refused whole and told, a change touches only itself."""
    site = pathlib.Path(path)
    text = site.read_text()
    frames_of = lambda name: server.cameras()[name]["counters"]["frames"]
    site.write_text(text.replace('unit = "live"', 'unit = "lief"'))
    refused, _ = wait_for("the wrong document is refused", 10, lambda: [e for e in server.journal() if e["code"] == "site.refused"])
    require("line" in refused[0]["text"] and "lief" in refused[0]["text"], f"it says where and what: {refused[0]['text']}")
    before = frames_of("main")
    site.write_text(text + '\n[[subsystem]]\nname = "motion/mjpeg"\nenabled = false\n')
    wait_for("the changed document is in force", 10, lambda: [e for e in server.journal() if e["code"] == "site.changed"])
    require(not server.cameras()["mjpeg"]["detection"], "the part that was switched off is off")
    sessions = server.cameras()["main"]["counters"]["sessions"]
    require(sessions == 1 and frames_of("main") >= before, f"the other cameras were not touched ({sessions} sessions)")
    site.write_text(text)
    wait_for("the old document is in force again", 10, lambda: server.cameras()["mjpeg"]["detection"])
    passed(f"edits while running: {refused[0]['text'][-90:]!r}; a change touches only its part")


def check_clip(args, server, clip, codec, source):
    status, video = server.request("GET", f"/api/v1/clips/{urllib.parse.quote(clip['id'], safe='')}/video")
    require(status in (200, 206), f"the clip's video is served ({status})")
    hash_here = hashlib.sha256(video).hexdigest()
    there = [p for p in published(args.ftp_root).values() if p.stat().st_size == len(video)
             and hashlib.sha256(p.read_bytes()).hexdigest() == hash_here]
    require(there, f"the server's copy of {clip['id']} equals what the page plays")
    path = there[0]
    info = probe(path)
    stream = info["streams"][0]
    require(stream["codec_name"] == codec, f"ffprobe says {stream['codec_name']}")
    hashes = frames(path, codec)
    require(contained(hashes, frames(source, codec)), f"{path.name}: its {len(hashes)} frames are the source's, without a gap")
    times = packets(path)
    steps = [b[0] - a[0] for a, b in zip(times, times[1:])]
    require(times[0][1], "the clip starts with a key frame")
    # Frames are shown as they were captured; a loaded camera may be late with one, never out of order.
    require(min(steps) > 0, f"time runs forward (steps from {min(steps):.3f} to {max(steps):.3f} s)")
    motion = clip["motion_ms"]
    require(motion is not None and motion > 0, f"{clip['id']} starts before its motion ({motion})")
    passed(f"{clip['camera']}: {path.name}, {len(hashes)} frames equal the source's, starts {motion / 1000:.2f} s before the motion")


def check_losses(args, work):
    """A silent camera is noticed, a dead one comes back, a wrong password is said once."""
    port = free_port()
    camera = Camera(args.camera, args.clips, port)
    server = Server(args.server, f"{work}/losses", {"main": f"rtsp://127.0.0.1:{port}/main"}, None)
    state = lambda: server.cameras()["main"]["state"]
    count = lambda: server.cameras()["main"]["counters"]["frames"]
    try:
        wait_for("the camera is online", 20, lambda: state() == "online" and count() > 25)
        camera.send(signal.SIGSTOP)
        _, took = wait_for("a stopped camera is noticed", 6, lambda: state() != "online", 0.02)
        require(took <= 3.5, f"a stopped camera is noticed after {took:.2f} s")
        passed(f"SIGSTOP of the camera is noticed after {took:.2f} s (watchdog 3 s, and its newest frame)")
        camera.send(signal.SIGCONT)
        wait_for("it comes back", 45, lambda: state() == "online")
        camera.kill()
        wait_for("a killed camera is noticed", 6, lambda: state() != "online", 0.02)
        time.sleep(2)
        before = count()
        camera.start()
        _, took = wait_for("frames come again", 12, lambda: count() > before, 0.02)
        require(took <= 8, f"frames come again {took:.2f} s after the camera's return")
        passed(f"SIGKILL and return: frames again after {took:.2f} s (back-off and 1 GOP of 2 s)")
    finally:
        server.kill()
        camera.kill()

    camera = Camera(args.camera, args.clips, port, CAMERA_PASSWORD)
    server = Server(args.server, f"{work}/password", {"main": f"rtsp://viewer:wrong@127.0.0.1:{port}/main"}, None)
    try:
        wait_for("a wrong password is told", 10, lambda: server.cameras()["main"]["code"] == "auth_failed")
        time.sleep(8)
        told = [entry for entry in server.journal() if entry["code"] == "camera.auth_failed"]
        require(len(told) == 1, f"a wrong password is journalled once, not {len(told)} times")
        passed(f"wrong password: {told[0]['text']!r}, once")
    finally:
        server.kill()
        camera.kill()


def check_kills(args, work):
    """kill -9 in the middle of recording and uploading: nothing acknowledged is lost, nothing half-written published."""
    port = free_port()
    camera = Camera(args.camera, args.clips, port)
    urls = {"main": f"rtsp://127.0.0.1:{port}/main", "sub": f"rtsp://127.0.0.1:{port}/sub"}
    prepare(args.server, f"{work}/kills", urls, args.ftp_url, 5)
    earlier = set(published(args.ftp_root))
    ours = lambda: {name: path for name, path in published(args.ftp_root).items() if name not in earlier}
    known = {}
    dice = random.Random(20)
    try:
        for n in range(args.kills):
            server = Server(args.server, f"{work}/kills", urls, args.ftp_url)
            listed = {clip["id"]: clip for clip in server.clips()}
            for id, clip in known.items():
                require(id in listed, f"kill {n}: clip {id} ({clip['state']}) is still known")
            until = time.monotonic() + dice.uniform(1.0, 7.0)
            while time.monotonic() < until:
                for clip in server.clips():
                    if clip["state"] != "recording":
                        known[clip["id"]] = clip
                time.sleep(0.05)
            server.kill()
        server = Server(args.server, f"{work}/kills", urls, args.ftp_url)
        finished = lambda: all(c["state"] == "archived" for c in server.clips() if c["id"] in known)
        wait_for("what waited is archived", 120, finished, 1)
        listed = {clip["id"]: clip for clip in server.clips()}
        require(all(id in listed for id in known), "every clip once acknowledged is still known")
        sizes = collections.Counter(p.stat().st_size for p in ours().values())
        for id in known:
            require(sizes[listed[id]["size_bytes"]] > 0, f"{id} is on the FTP server with its size")
        server.stop()
        server = Server(args.server, f"{work}/kills", urls, args.ftp_url)
        final = {clip["id"] for clip in server.clips()}
        server.stop()
        for name, path in ours().items():
            info = probe(path)
            require(int(info["streams"][0]["nb_read_packets"]) > 0, f"{name} opens")
        # The camera begins its film anew for every session, so two clips may well be equal; a clip's name is its own.
        stems = collections.Counter(p.stem for p in ours().values())
        strangers = [stem for stem in stems if stem not in final]
        require(not strangers and max(stems.values()) == 1, f"every file is one known clip, once (not: {strangers})")
        passed(f"{args.kills} times kill -9: {len(known)} acknowledged clips all archived, "
               f"{len(ours())} files on the server, each opens, none twice")
    finally:
        server.process.kill()
        camera.kill()


def main():
    parser = argparse.ArgumentParser()
    for name in ["server", "camera", "clips", "ftp_url", "ftp_root"]:
        parser.add_argument(name)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="godvision-server-")
    checks = {"mounts": check_all_mounts, "losses": check_losses, "kills": check_kills}
    try:
        for name, check in checks.items():
            if args.only in (None, name):
                check(args, work)
    except BaseException:
        for log in pathlib.Path(work).glob("*.log"):
            print(f"--- {log.name}", log.read_text(errors="replace")[-4000:], sep="\n", file=sys.stderr)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
