"""Draws number plates and scenes with them, for training and for measuring: nothing of it is a photograph.

A plate is drawn flat at about one pixel a millimetre, then put into a scene made of gradients, noise, shapes and text,
seen from aside, in bad light, blurred, dirty and compressed. Fonts are whatever free bold sans-serif faces the system
has (Debian: fonts-dejavu, fonts-liberation, fonts-roboto-unhinted, fonts-freefont-ttf); none is kept here. The real
typefaces of plates are not free, so what is measured on these is not what is measured on a road.

    python draw.py OUT_DIR COUNT SEED     # scenes as OUT_DIR/NNNN-COUNTRY.png with NNNN-COUNTRY.txt: text, corners
"""

import glob
import os
import random
import sys

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

GOST = "ABEKMHOPCTYX"
LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SPANISH = "BCDFGHJKLMNPRSTVWXYZ"
FRENCH = "ABCDEFGHJKLMNPQRSTVWXYZ"
ITALIAN = "ABCDEFGHJKLMNPRSTVWXYZ"
POLISH_TAIL = "ACEFGHJKLMNPRSTUVWXY"
DUTCH = "BDFGHJKLNPRSTVXZ"
WANTED = ("DejaVuSansCondensed-Bold.", "DejaVuSans-Bold.", "LiberationSans-Bold.", "LiberationSansNarrow-Bold.",
          "RobotoCondensed-Bold.", "Roboto-Bold.", "FreeSansBold.")
FONTS = sorted(path for path in glob.glob("/usr/share/fonts/truetype/**/*.ttf", recursive=True)
               if os.path.basename(path).startswith(WANTED))
_faces = {}


def face(path, size):
    key = (path, size)
    if key not in _faces:
        _faces[key] = ImageFont.truetype(path, size)
    return _faces[key]


def letters(rng, alphabet, count):
    return "".join(rng.choice(alphabet) for _ in range(count))


def digits(rng, count):
    while True:
        text = letters(rng, "0123456789", count)
        if int(text):
            return text


def write(image, text, box, path, colour, fit=True):
    """Writes `text` so that it fills the height of `box` = left, top, right, bottom, squeezed to its width."""
    left, top, right, bottom = box
    font = face(path, 100)
    x0, y0, x1, y1 = font.getbbox(text)
    glyphs = Image.new("L", (max(1, x1 - x0), max(1, y1 - y0)))
    ImageDraw.Draw(glyphs).text((-x0, -y0), text, font=font, fill=255)
    height = bottom - top
    width = min(right - left, int(glyphs.width * height / glyphs.height * 1.05))
    glyphs = glyphs.resize((max(1, width), max(1, height)), Image.BILINEAR)
    image.paste(Image.new("RGB", glyphs.size, colour), (left + (right - left - width) // 2, top), glyphs)


def blank(width, height, back, edge):
    image = Image.new("RGB", (width, height), back)
    ImageDraw.Draw(image).rounded_rectangle((3, 3, width - 4, height - 4), 8, outline=edge, width=3)
    return image


def gost(rng):
    """GOST R 50577: types 1 (cars), 1A (two lines), 1B (taxis, yellow), 2 (trailers), 4 (motorcycles), 5 (military), 9 (diplomats)."""
    font = rng.choice(FONTS)
    region = rng.choice([f"{rng.randint(1, 99):02}", rng.choice(["77", "97", "78", "50", "61", "23"]),
                         rng.choice(["177", "199", "197", "777", "750", "198", "161", "123", "716", "799"])])
    kind = rng.choices(["1", "1A", "1B", "2", "4", "5", "9"], [12, 3, 2, 2, 2, 1, 1])[0]
    back, ink = {"1B": ("#f2c21c", "#111"), "5": ("#181818", "#eee"), "9": ("#a01818", "#eee")}.get(kind, ("#f0f0ee", "#111"))
    if kind in ("1", "1B", "2", "5", "9"):
        a, d, b = letters(rng, GOST, 1), digits(rng, 3), letters(rng, GOST, 2)
        main = {"1": a + d + b, "1B": b + d, "2": b + digits(rng, 4), "5": digits(rng, 4) + b,
                "9": digits(rng, 3) + "D" + digits(rng, 3)}[kind]
        image = blank(520, 112, back, ink)
        draw = ImageDraw.Draw(image)
        draw.line((395, 5, 395, 107), fill=ink, width=3)
        x, step = 28, 350 // len(main)
        for sign in main:
            top = 32 if sign.isalpha() else 20
            write(image, sign, (x + 4, top, x + step - 4, 94), font, ink)
            x += step
        write(image, region, (408, 14, 505, 66), font, ink)
        write(image, "RUS", (410, 76, 462, 98), font, ink)
        for row, colour in enumerate(("#ffffff", "#1030a0", "#c01010")):
            draw.rectangle((468, 76 + 8 * row, 504, 83 + 8 * row), fill=colour)
        return image, main + region, "RU"
    if kind == "1A":
        image = blank(290, 170, back, ink)
        a, d, b = letters(rng, GOST, 1), digits(rng, 3), letters(rng, GOST, 2)
        for place, sign in enumerate(a + d):
            write(image, sign, (26 + place * 60, 28 if sign.isalpha() else 16, 80 + place * 60, 80), font, ink)
        for place, sign in enumerate(b):
            write(image, sign, (26 + place * 60, 98, 80 + place * 60, 152), font, ink)
        write(image, region, (160, 92, 268, 136), font, ink)
        write(image, "RUS", (170, 142, 230, 158), font, ink)
        return image, a + d + b + region, "RU"
    image = blank(245, 185, back, ink)
    d, b = digits(rng, 4), letters(rng, GOST, 2)
    for place, sign in enumerate(d):
        write(image, sign, (22 + place * 52, 18, 70 + place * 52, 84), font, ink)
    for place, sign in enumerate(b):
        write(image, sign, (20 + place * 52, 106, 66 + place * 52, 164), font, ink)
    write(image, region, (132, 98, 228, 144), font, ink)
    write(image, "RUS", (150, 152, 210, 170), font, ink)
    return image, d + b + region, "RU"


def european(rng):
    country = rng.choice(["DE", "FR", "IT", "ES", "PL", "NL"])
    font = rng.choice(FONTS)
    back, ink = "#f2f2f0", "#121212"
    if country == "DE":
        head = letters(rng, LATIN, rng.choice([1, 2, 3]))
        tail = letters(rng, LATIN, rng.choice([1, 2]))
        number = str(rng.randint(1, 9999 if len(head) + len(tail) < 5 else 999))
        parts = [head, tail, number]
    elif country == "FR":
        parts = [letters(rng, FRENCH, 2), digits(rng, 3), letters(rng, FRENCH, 2)]
    elif country == "IT":
        parts = [letters(rng, ITALIAN, 2), digits(rng, 3) + letters(rng, ITALIAN, 2)]
    elif country == "ES":
        parts = [digits(rng, 4), letters(rng, SPANISH, 3)]
    elif country == "PL":
        head = rng.choice("BCDEFGKLNOPRSTWZ") + letters(rng, LATIN.replace("Q", ""), rng.choice([1, 2]))
        parts = [head, digits(rng, 5) if rng.random() < 0.6 else digits(rng, 4) + letters(rng, POLISH_TAIL, 1)]
    else:
        back = "#f0b810"
        parts = rng.choice([lambda: [letters(rng, DUTCH, 2), digits(rng, 3), letters(rng, DUTCH, 1)],
                            lambda: [letters(rng, DUTCH, 1), digits(rng, 3), letters(rng, DUTCH, 2)],
                            lambda: [digits(rng, 2), letters(rng, DUTCH, 3), digits(rng, 1)],
                            lambda: [digits(rng, 2), letters(rng, DUTCH, 2), letters(rng, DUTCH, 2)]])()
    text = "".join(parts)
    joint = {"FR": "-", "NL": "-"}.get(country, "")
    if rng.random() < 0.08 and len(parts) > 1:
        image = blank(340, 200, back, ink)
        ImageDraw.Draw(image).rectangle((4, 4, 36, 100), fill="#1038a0")
        write(image, parts[0], (50, 22, 320, 92), font, ink)
        write(image, joint.join(parts[1:]), (24, 108, 320, 178), font, ink)
        return image, text, country
    image = blank(520, 110, back, ink)
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, 44, 106), fill="#1038a0")
    draw.ellipse((12, 20, 36, 44), outline="#e8c820", width=3)
    write(image, country[0] if country in ("DE", "FR", "IT", "ES") else country, (12, 70, 38, 92), font, "#f0f0f0")
    if country in ("FR", "IT") and rng.random() < 0.6:
        draw.rectangle((478, 4, 516, 106), fill="#1038a0")
    signs = joint.join(parts) if joint else " ".join(parts)
    room = 420 if country in ("FR", "IT") else 450
    step = min(56, room // len(signs))
    x = 54 + (room - step * len(signs)) // 2
    for sign in signs:
        if sign == "-":
            draw.rectangle((x + step // 4, 50, x + step * 3 // 4, 60), fill=ink)
        elif sign != " ":
            inset = 14 if sign in "1I" else 4
            write(image, sign, (x + inset, 18, x + step - inset, 92), font, ink)
        x += step
    if country == "DE":
        draw.ellipse((60 + 48 * len(parts[0]), 20, 80 + 48 * len(parts[0]), 40), outline="#888", width=2)
    return image, text, country


def american(rng):
    font = rng.choice(FONTS)
    back = rng.choice(["#f4f4f4", "#e8eef4", "#f2ecd0", "#dfe8f8", "#204080", "#f0d020"])
    ink = "#f0f0f0" if back == "#204080" else rng.choice(["#102060", "#8a1414", "#101010", "#0c4a24"])
    text = rng.choice([lambda: letters(rng, LATIN, 3) + digits(rng, 4), lambda: digits(rng, 1) + letters(rng, LATIN, 3) + digits(rng, 3),
                       lambda: letters(rng, LATIN, 3) + digits(rng, 3), lambda: digits(rng, 3) + letters(rng, LATIN, 3),
                       lambda: letters(rng, LATIN, 2) + digits(rng, 5)])()
    image = blank(305, 152, back, ink)
    draw = ImageDraw.Draw(image)
    state = rng.choice(["CALIFORNIA", "New York", "Texas", "FLORIDA", "Ohio", "GEORGIA", "Nevada", "Washington"])
    write(image, state, (80, 10, 225, 32), font, rng.choice([ink, "#a02020", "#2040a0"]))
    write(image, rng.choice(["Sunshine State", "dmv.gov", "The Lone Star State", "Golden State"]), (90, 128, 215, 144), font, ink)
    for x in (30, 275):
        for y in (16, 136):
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill="#777")
    step = 280 // len(text)
    for place, sign in enumerate(text):
        inset = 10 if sign in "1I" else 3
        write(image, sign, (14 + place * step + inset, 44, 14 + (place + 1) * step - inset, 116), font, ink)
    return image, text, "US"


def plate(rng):
    image, text, country = rng.choices([gost, european, american], [5, 5, 2])[0](rng)
    array = np.asarray(image).astype(np.float32)
    noise = np.random.default_rng(rng.getrandbits(32))
    if rng.random() < 0.35:
        rows, columns = array.shape[:2]
        cloud = cv2.resize(noise.random((4, 9), np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
        dirt = np.clip(cloud - rng.uniform(0.45, 0.75), 0, 1)[..., None] * rng.uniform(0.5, 1.8)
        array = array * (1 - np.clip(dirt, 0, 0.75)) + np.array([96, 84, 66]) * np.clip(dirt, 0, 0.75)
    return array, text, country


def background(rng, width, height):
    noise = np.random.default_rng(rng.getrandbits(32))
    base = np.zeros((height, width, 3), np.float32)
    ends = noise.uniform(20, 220, (2, 3)).astype(np.float32)
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    base[:] = ends[0] * (1 - ramp) + ends[1] * ramp
    for cells in (3, 9, 27, 80):
        if rng.random() < 0.7:
            cloud = noise.normal(0, rng.uniform(4, 26), (cells, cells * 5 // 3, 1)).astype(np.float32)
            base += cv2.resize(cloud, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    image = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    colour = lambda: tuple(rng.randint(0, 255) for _ in range(3))
    for _ in range(rng.randint(2, 14)):
        x, y = rng.randint(-40, width), rng.randint(-40, height)
        w, h = rng.randint(4, max(5, width // 2)), rng.randint(4, max(5, height // 2))
        shape = rng.random()
        if shape < 0.35:
            draw.rectangle((x, y, x + w, y + h), fill=colour(), outline=colour() if rng.random() < 0.5 else None)
        elif shape < 0.5:
            draw.ellipse((x, y, x + w, y + min(h, w)), fill=colour(), outline=colour())
        elif shape < 0.65:
            draw.polygon([(rng.randint(0, width), rng.randint(0, height)) for _ in range(rng.randint(3, 5))], fill=colour())
        elif shape < 0.78:
            # Grilles, fences, kerbs: rows of bars are what plates are mistaken for.
            step, ink = rng.randint(2, 12), colour()
            for k in range(0, w, step):
                draw.line((x + k, y, x + k, y + h // 3) if rng.random() < 0.9 else (x, y + k, x + w, y + k), fill=ink, width=max(1, step // 3))
        elif shape < 0.9:
            draw.line((x, y, x + w, y + h), fill=colour(), width=rng.randint(1, 5))
        else:
            size = rng.randint(6, 40)
            text = letters(rng, LATIN.lower() + LATIN + "     .,-", rng.randint(4, 24))
            draw.text((x, y), text, font=face(rng.choice(FONTS), size), fill=colour())
    return np.asarray(image).astype(np.float32)


def body(rng, scene, box):
    """A car's or a wall's surface around the plate: plain, with a bumper's edges and lamps."""
    left, top, right, bottom = box
    w, h = right - left, bottom - top
    image = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    tone = rng.choice([(20, 20, 24), (200, 200, 205), (120, 120, 126), (150, 20, 20), (24, 40, 100), (235, 235, 235), (60, 70, 60)])
    grow = lambda a, b: rng.uniform(a, b)
    area = (left - w * grow(0.1, 1.5), top - h * grow(0.3, 3), right + w * grow(0.1, 1.5), bottom + h * grow(0.2, 2))
    draw.rounded_rectangle(area, radius=int(min(h, 30)), fill=tone)
    for _ in range(rng.randint(0, 5)):
        y = rng.uniform(area[1], area[3])
        shade = tuple(max(0, min(255, c + rng.randint(-60, 60))) for c in tone)
        draw.line((area[0], y, area[2], y + rng.uniform(-4, 4)), fill=shade, width=rng.randint(1, 4))
    if rng.random() < 0.5:
        for x in (area[0], area[2] - w * 0.4):
            draw.ellipse((x, area[1], x + w * 0.4, area[1] + h), fill=rng.choice([(250, 250, 240), (180, 20, 20), (90, 90, 90)]))
    return np.asarray(image).astype(np.float32)


def scene(rng, width, height, plates, size=(0.06, 0.6), bank=None):
    """A grey scene `[height, width]` and its plates: (text, country, corners from the top left, clockwise)."""
    picture = background(rng, width, height)
    found = []
    for _ in range(plates):
        flat, text, country = rng.choice(bank) if bank else plate(rng)
        rows, columns = flat.shape[:2]
        wide = width * np.exp(rng.uniform(np.log(size[0]), np.log(size[1])))
        tall = wide * rows / columns * rng.uniform(0.85, 1.1)
        angle, shear = np.radians(rng.gauss(0, 6)), rng.gauss(0, 0.12)
        corners = np.array([[-wide, -tall], [wide, -tall], [wide, tall], [-wide, tall]]) / 2
        # Seen from aside: narrower, one end smaller, slanted.
        corners[:, 0] *= rng.uniform(0.7, 1)
        corners[:, 1] *= 1 + np.sign(corners[:, 0]) * rng.uniform(-0.12, 0.12)
        corners[:, 1] += corners[:, 0] * shear
        corners = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        reach = np.abs(corners).max(0) + 2
        if (reach * 2 >= (width, height)).any():
            continue
        corners += (rng.uniform(reach[0], width - reach[0]), rng.uniform(reach[1], height - reach[1]))
        low, high = corners.min(0), corners.max(0)
        if any((low < other[2].max(0) + 4).all() and (high > other[2].min(0) - 4).all() for other in found):
            continue
        # A second car would cover the first one's plate.
        if rng.random() < 0.8 and not found:
            picture = body(rng, picture, (*low, *high))
        # Shrunk by a filter that averages, or the letters alias.
        factor = max(1.0, columns / wide)
        small = cv2.resize(flat, (max(4, int(columns / factor)), max(4, int(rows / factor))), interpolation=cv2.INTER_AREA)
        h, w = small.shape[:2]
        source = np.float32([[0, 0], [w, 0], [w, h], [0, h]])
        warp = cv2.getPerspectiveTransform(source - 0.5, np.float32(corners) - 0.5)
        light = rng.uniform(0.75, 1.1)
        over = cv2.warpPerspective(small * light, warp, (width, height), flags=cv2.INTER_LINEAR)
        mask = cv2.warpPerspective(np.ones((h, w), np.float32), warp, (width, height), flags=cv2.INTER_LINEAR)[..., None]
        picture = picture * (1 - mask) + over * mask
        found.append((text, country, corners))
    grey = picture @ np.float32([0.299, 0.587, 0.114])
    return degrade(rng, grey), found


def degrade(rng, grey):
    noise = np.random.default_rng(rng.getrandbits(32))
    height, width = grey.shape
    if rng.random() < 0.25:
        # Night: dark, a lamp's pool of light, more noise.
        y, x = np.mgrid[:height, :width].astype(np.float32)
        pool = np.exp(-(((x - rng.uniform(0, width)) / width) ** 2 + ((y - rng.uniform(0, height)) / height) ** 2) * rng.uniform(2, 8))
        grey = grey * (0.15 + rng.uniform(0.3, 0.9) * pool)
    gain, offset = rng.uniform(0.6, 1.15), rng.uniform(-20, 30)
    grey = grey * gain + offset
    if rng.random() < 0.5:
        grey = cv2.GaussianBlur(grey, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < 0.2:
        length = rng.randint(2, 5)
        grey = cv2.blur(grey, (length, 1) if rng.random() < 0.7 else (1, length))
    grey = grey + noise.normal(0, rng.uniform(0.5, 9), grey.shape)
    grey = np.clip(grey, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        quality = rng.randint(35, 92)
        grey = cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
    return grey


def main():
    out, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.makedirs(out, exist_ok=True)
    for k in range(count):
        rng = random.Random(seed * 1_000_003 + k)
        found = []
        while not found:
            grey, found = scene(rng, 1920, 1080, 1, (0.07, 0.22))
        text, country, corners = found[0]
        name = os.path.join(out, f"{k:04}-{country}")
        cv2.imwrite(name + ".png", grey)
        with open(name + ".txt", "w") as file:
            file.write(text + "\n" + " ".join(f"{value:.1f}" for value in corners.flatten()) + "\n")


if __name__ == "__main__":
    main()
