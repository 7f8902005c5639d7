"""Runs the examples of godvision-vision and judges what they print: seeing.py EXAMPLES SHARED WORK

EXAMPLES holds the programs, SHARED the evaluation folder, WORK a scratch folder with the plate model in `models`. Exits with
a message if something is worse than it must be.
"""

import glob
import itertools
import json
import os
import re
import subprocess
import sys

import numpy as np

EXAMPLES, SHARED, WORK = sys.argv[1:]
# What must hold. Mean F of OpenCV's MOG2 on the same sequences is 0.565.
MOTION_F_MIN = 0.75
BELOW_MOG2_MAX = 0.05
QR_MIN, QR_OF = 45, 64
QR_BELOW_ZXING_MAX = 1
QR_SEEDS = (901, 902)
FALSE_ACCEPTS = 1e-3
TRUE_ACCEPTS_MIN = 0.993


def run(program, *arguments):
    done = subprocess.run([os.path.join(EXAMPLES, program), *arguments], stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout


def must(holds, what):
    print(("ok    " if holds else "WORSE ") + what, flush=True)
    if not holds:
        sys.exit(what)


def motion():
    masks, data = os.path.join(WORK, "masks"), os.path.join(SHARED, "data/motion")
    run("motion_masks", data, masks)
    command = [sys.executable, os.path.join(SHARED, "tools/motion/score.py"), data, "--masks", masks, "--peers"]
    table = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    print(table)
    rows = {line.split()[0]: dict(re.findall(r"(\S+) (\d\.\d+)", line)) for line in table.splitlines() if " ours " in line}
    for name, row in rows.items():
        ours, mog2 = float(row["ours"]), float(row["MOG2"])
        if name == "MEAN":
            must(len(rows) > 1 and ours >= MOTION_F_MIN, f"mean F {ours} is at least {MOTION_F_MIN}")
        else:
            must(ours >= mog2 - BELOW_MOG2_MAX, f"{name}: F {ours} is not below MOG2's {mog2}")


def unescaped(text):
    plain = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\"}
    return re.sub(r"\\(?:u\{([0-9a-f]+)\}|(.))", lambda it: chr(int(it[1], 16)) if it[1] else plain[it[2]], text)


def codes_read(folder):
    """Files read exactly, files, and milliseconds a file."""
    read, count, millis = 0, 0, []
    for line in run("read_qr", folder).splitlines():
        path, text, took = line.split("\t")
        wanted = open(os.path.splitext(path)[0] + ".txt", "rb").read().decode(errors="replace").strip()
        read += wanted in (unescaped(part).strip() for part in text.split(" | "))
        count += 1
        millis.append(float(took))
    return read, count, float(np.mean(millis))


def qr():
    both = [codes_read(os.path.join(SHARED, "data/qr", name)) for name in ("qrcode-1", "qrcode-2")]
    read, count = sum(it[0] for it in both), sum(it[1] for it in both)
    must(count == QR_OF and read >= QR_MIN, f"photographs of codes: {read} of {count} read, at least {QR_MIN}")
    backgrounds = os.path.join(WORK, "backgrounds")
    os.makedirs(backgrounds)
    for sequence in glob.glob(os.path.join(SHARED, "data/motion/*/input")):
        for path in sorted(glob.glob(sequence + "/*"))[::60][:3]:
            name = sequence.split("/")[-2] + "-" + os.path.basename(path)
            os.symlink(os.path.abspath(path), os.path.join(backgrounds, name))
    for seed in QR_SEEDS:
        drawn = os.path.join(WORK, f"codes-{seed}")
        tools = os.path.join(SHARED, "tools/qr")
        subprocess.run([sys.executable, os.path.join(tools, "synth.py"), backgrounds, drawn, str(seed)], check=True)
        folders = sorted(glob.glob(drawn + "/*"))
        command = [sys.executable, os.path.join(tools, "peers.py"), *folders]
        peers = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
        print(peers, end="")
        zxing = int(re.search(r"zxing-cpp\s+exact (\d+)/", peers)[1])
        sizes = [codes_read(folder) for folder in folders]
        read, millis = sum(it[0] for it in sizes), np.mean([it[2] for it in sizes])
        must(read >= zxing - QR_BELOW_ZXING_MAX, f"drawn codes, seed {seed}: {read} read, zxing-cpp {zxing}; {millis:.1f} ms wall")


def faces():
    paths = sorted(glob.glob(os.path.join(SHARED, "data/face/*/*")))
    largest = {}
    for line in run("find_faces", *paths).splitlines():
        face = json.loads(line)
        left, top, right, bottom = face["box"]
        if (right - left) * (bottom - top) > largest.get(face["file"], (0,))[0]:
            largest[face["file"]] = ((right - left) * (bottom - top), np.array(face["embedding"]))
    must(len(largest) == len(paths) > 100, f"a face is found in {len(largest)} of {len(paths)} photographs")
    same, other = [], []
    for (a, (_, one)), (b, (_, two)) in itertools.combinations(largest.items(), 2):
        (same if os.path.dirname(a) == os.path.dirname(b) else other).append(float(one @ two))
    threshold = np.quantile(other, 1 - FALSE_ACCEPTS)
    accepted = np.mean(np.array(same) > threshold)
    must(accepted >= TRUE_ACCEPTS_MIN, f"of {len(same)} pairs of one person {accepted:.4f} are accepted where {FALSE_ACCEPTS} of {len(other)} others are")


def plates():
    drawn = sorted(glob.glob("godvision-vision/tests/data/plates/*.jpg"))
    read = [line.split("\t") for line in run("read_plates", "--models", os.path.join(WORK, "models"), *drawn).splitlines()]
    wanted = {path: os.path.splitext(os.path.basename(path))[0].split("-")[1] for path in drawn}
    found = {path: text for path, text, _, _ in read}
    must(len(drawn) >= 3 and found == wanted, f"drawn plates are read: {found}")


for check in (motion, qr, faces, plates):
    check()
