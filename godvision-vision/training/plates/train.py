"""Trains the plate detector on scenes drawn by `draw.py` and writes it as ONNX: `python train.py OUT.onnx MINUTES`.

Input: grey, `[1, 1, h, w]`, 0..1, sides multiples of 16. Output `[1, 9, h/8, w/8]`: the logit that the middle of a plate
lies near this cell, then its four corners, x and y from the middle of the cell, clockwise from the top left, in 32 pixels.
"""

import multiprocessing as mp
import random
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from draw import plate, scene

WIDTH, HEIGHT, STRIDE, UNIT = 320, 192, 8, 32.0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        block = lambda i, o, s=1, d=1: nn.Sequential(nn.Conv2d(i, o, 3, s, d, d, bias=False), nn.BatchNorm2d(o), nn.ReLU())
        self.fine = nn.Sequential(block(1, 8, 2), block(8, 16, 2), block(16, 16), block(16, 32, 2), block(32, 32))
        self.wide = nn.Sequential(block(32, 40, 2), block(40, 40, 1, 2), block(40, 40, 1, 1))
        self.join = nn.Conv2d(40, 32, 1)
        self.last = block(32, 32)
        self.head = nn.Conv2d(32, 9, 1)
        nn.init.constant_(self.head.bias[:1], -4.0)

    def forward(self, x):
        fine = self.fine(x - 0.45)
        wide = F.interpolate(self.join(self.wide(fine)), scale_factor=2.0, mode="nearest")
        return self.head(self.last(F.relu(fine + wide)))


def batch(rng, bank, count):
    images = np.zeros((count, 1, HEIGHT, WIDTH), np.uint8)
    wanted = np.zeros((count, 10, HEIGHT // STRIDE, WIDTH // STRIDE), np.float32)
    rows, columns = wanted.shape[2:]
    cy, cx = np.mgrid[:rows, :columns].astype(np.float32) * STRIDE + STRIDE / 2
    for k in range(count):
        grey, found = scene(rng, WIDTH, HEIGHT, rng.choice([0, 1, 1, 1, 2, 3]), (0.05, 0.65), bank)
        images[k, 0] = grey
        for _, _, corners in found:
            middle = corners.mean(0)
            w, h = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
            dx, dy = np.abs(cx - middle[0]), np.abs(cy - middle[1])
            near = (dx <= max(5.0, w * 0.12)) & (dy <= max(5.0, h * 0.2))
            soft = (dx <= max(10.0, w * 0.3)) & (dy <= max(10.0, h * 0.5)) & ~near
            wanted[k, 9][soft & (wanted[k, 0] == 0)] = 1
            wanted[k, 0][near] = 1
            wanted[k, 9][near] = 0
            for place, (x, y) in enumerate(corners):
                wanted[k, 1 + 2 * place][near] = ((x - cx) / UNIT)[near]
                wanted[k, 2 + 2 * place][near] = ((y - cy) / UNIT)[near]
    return images, wanted


def worker(seed, queue):
    import cv2
    cv2.setNumThreads(1)
    rng = random.Random(seed)
    bank = [plate(rng) for _ in range(1200)]
    while True:
        bank[rng.randrange(len(bank))] = plate(rng)
        queue.put(batch(rng, bank, 32))


def loss_of(out, wanted):
    score, is_plate, ignored = out[:, 0], wanted[:, 0], wanted[:, 9]
    p = torch.sigmoid(score)
    bce = F.binary_cross_entropy_with_logits(score, is_plate, reduction="none")
    focal = bce * torch.where(is_plate > 0, (1 - p) ** 2 * 0.75, p**2 * 0.25) * (1 - ignored)
    count = is_plate.sum().clamp(min=1)
    # Errors count in shares of the plate's size, so that a small one's corners matter as much.
    corners = wanted[:, 1:9]
    size = (corners[:, 2:4] - corners[:, 0:2]).norm(dim=1, keepdim=True).clamp(min=0.3)
    far = F.smooth_l1_loss(out[:, 1:9] / size, corners / size, reduction="none", beta=0.05).sum(1)
    return focal.sum() / count + 0.6 * (far * is_plate).sum() / count


def main():
    path, minutes = sys.argv[1], float(sys.argv[2])
    torch.manual_seed(1)
    torch.set_num_threads(1)
    queue = mp.Queue(8)
    for seed in (11, 12):
        mp.Process(target=worker, args=(seed, queue), daemon=True).start()
    net = Net()
    print(sum(p.numel() for p in net.parameters()), "parameters", flush=True)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    start, step, mean = time.time(), 0, None
    while (share := (time.time() - start) / (minutes * 60)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1, step / 50) * (0.5 + 0.5 * np.cos(np.pi * share)) + 1e-5
        images, wanted = queue.get()
        out = net(torch.from_numpy(images).float() / 255)
        loss = loss_of(out, torch.from_numpy(wanted))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        mean = loss.item() if mean is None else mean * 0.97 + loss.item() * 0.03
        step += 1
        if step % 50 == 0:
            print(f"{step} {time.time() - start:.0f} s loss {mean:.4f}", flush=True)
        if step % 300 == 0:
            save(net, path)
    save(net, path)


def save(net, path):
    net.eval()
    axes = {"luma": {2: "height", 3: "width"}, "plates": {2: "rows", 3: "columns"}}
    torch.onnx.export(net, torch.zeros(1, 1, HEIGHT, WIDTH), path, input_names=["luma"], output_names=["plates"],
                      dynamic_axes=axes, opset_version=13, dynamo=False)
    net.train()


if __name__ == "__main__":
    main()
