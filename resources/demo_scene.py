"""Frames of parts on a belt, drawn from signed distances: six kinds, changing light, clutter, noise.

`draw(rng)` gives one frame as uint8 (128, 128, 3), the box of its part and its kind. All lengths are
pixels of the frame, colours are linear 0..1 until the camera turns them into bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIZE = 128
KINDS = ("gear", "nut", "bolt", "washer", "spring", "bracket")
EMPTY = -1

Rng = np.random.Generator
Field = np.ndarray  # float32 (h, w): a value a pixel
_Y, _X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


@dataclass(frozen=True)
class Frame:
    """One picture, the box of its part (x0, y0, x1, y1; zeros where the belt is empty) and its kind."""

    pixels: np.ndarray  # uint8 (128, 128, 3)
    box: tuple[int, int, int, int]
    kind: int  # index into KINDS, or EMPTY


# Shapes: signed distance to the outline in units of the part's radius, negative inside.


def _box(x: Field, y: Field, half_x: float, half_y: float, corner: float = 0.0) -> Field:
    dx, dy = np.abs(x) - half_x + corner, np.abs(y) - half_y + corner
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - corner


def _hexagon(x: Field, y: Field, apothem: float) -> Field:
    angles = np.arange(3) * np.pi / 3
    sides = [np.abs(x * np.cos(a) + y * np.sin(a)) for a in angles]
    return np.maximum.reduce(sides) - apothem


def _gear(x: Field, y: Field, rng: Rng) -> Field:
    teeth = int(rng.integers(9, 14))
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    wave = np.clip(np.cos(angle * teeth) * 1.9, -1, 1)
    rim = (radius - (0.87 + rng.uniform(0.035, 0.12) * wave)) * 0.8  # teeth from worn to new
    body = np.maximum(rim, rng.uniform(0.16, 0.28) - radius)
    holes = int(rng.integers(4, 7)) if rng.random() < 0.6 else 0
    for k in range(holes):
        a = 2 * np.pi * k / holes
        body = np.maximum(body, 0.13 - np.hypot(x - 0.52 * np.cos(a), y - 0.52 * np.sin(a)))
    return body


def _nut(x: Field, y: Field, rng: Rng) -> Field:
    radius = np.hypot(x, y)
    outline = np.maximum(_hexagon(x, y, 0.84), radius - rng.uniform(0.90, 0.97))  # corners from worn to new
    return np.maximum(outline, rng.uniform(0.40, 0.54) - radius)


def _bolt(x: Field, y: Field, rng: Rng) -> Field:
    head = _box(x + 0.72, y, 0.24, rng.uniform(0.40, 0.50), 0.06)
    thread = 0.035 * np.cos(x * rng.uniform(26, 32)) * (x > -0.1)
    shaft = _box(x - 0.2, y, 0.76, rng.uniform(0.17, 0.23), 0.05) + thread
    return np.minimum(head, shaft)


def _washer(x: Field, y: Field, rng: Rng) -> Field:
    radius = np.hypot(x, y)
    return np.maximum(radius - 0.92, rng.uniform(0.40, 0.56) - radius)


def _spring(x: Field, y: Field, rng: Rng) -> Field:
    turns, height = rng.uniform(9.5, 13.5), rng.uniform(0.34, 0.44)
    slope = height * turns * np.cos(turns * x)
    coil = np.abs(y - height * np.sin(turns * x)) / np.sqrt(1 + slope * slope) - rng.uniform(0.065, 0.085)
    return np.maximum(coil, np.abs(x) - 0.96)


def _bracket(x: Field, y: Field, rng: Rng) -> Field:
    arm = rng.uniform(0.24, 0.30)
    upright, foot = _box(x + 0.84 - arm, y, arm, 0.84, 0.08), _box(x, y - 0.84 + arm, 0.84, arm, 0.08)
    body = np.minimum(upright, foot)
    for cx, cy in ((arm - 0.84, -0.5), (0.5, 0.84 - arm)):
        body = np.maximum(body, 0.12 - np.hypot(x - cx, y - cy))
    return body


SHAPES: tuple[Callable[[Field, Field, Rng], Field], ...] = (_gear, _nut, _bolt, _washer, _spring, _bracket)
METALS = np.array(
    [[0.60, 0.62, 0.65], [0.72, 0.60, 0.36], [0.44, 0.47, 0.52], [0.66, 0.48, 0.38], [0.68, 0.69, 0.66]], np.float32
)


# Small tools of the painter.


def _smooth(field: Field, sigma: float) -> Field:
    """Gaussian blur of (h, w) or (h, w, 3) by two passes; the edge is repeated."""
    reach = max(1, int(3 * sigma + 0.5))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padding = [(reach, reach) if a == axis else (0, 0) for a in range(field.ndim)]
        padded = np.pad(field, padding, mode="edge")
        length = field.shape[axis]
        field = sum(w * padded.take(range(k, k + length), axis) for k, w in enumerate(kernel))
    return field


def _clouds(rng: Rng, cell: int) -> Field:
    """Smooth noise of mean 0, about -1..1, with spots of `cell` pixels."""
    coarse = rng.standard_normal((SIZE // cell + 2, SIZE // cell + 2)).astype(np.float32)
    image = Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image) * 0.6


def _mix(frame: np.ndarray, colour: np.ndarray | float, alpha: Field) -> None:
    frame += alpha[..., None] * (colour - frame)


def _ramp(distance: Field, width: float) -> Field:
    """1 inside (negative distance), 0 outside, `width` pixels of transition."""
    return np.clip(0.5 - distance / width, 0, 1)


# The scene from back to front.


def _belt(rng: Rng) -> np.ndarray:
    tone = rng.uniform(0.15, 0.24)
    ribs = np.sin(_X * rng.uniform(1.0, 1.3) + rng.uniform(0, 6)) * np.sin(_Y * 1.57 + rng.uniform(0, 6))
    weave = 1 + 0.05 * ribs + 0.07 * _clouds(rng, 16) + 0.035 * _clouds(rng, 2)
    tint = np.array([0.96, 1.0, 1.06], np.float32)
    frame = (tone * weave)[..., None] * tint
    if rng.random() < 0.3:  # the splice where the belt is joined
        seam = np.abs(_X - rng.uniform(0, SIZE) + rng.uniform(-0.25, 0.25) * _Y)
        _mix(frame, tone * 0.72 * tint, 0.7 * _ramp(seam - 0.8, 1.5))
    return frame


def _rails(frame: np.ndarray, rng: Rng) -> tuple[float, float]:
    """Draw both side rails; returns the y between which the belt is free."""
    width = rng.uniform(11, 16)
    tone = rng.uniform(0.30, 0.40)
    phase, pitch = rng.uniform(0, 24), rng.uniform(22, 30)
    for inner, sign in ((width, -1.0), (SIZE - width, 1.0)):
        depth = (_Y - inner) * sign  # positive on the rail
        shade = tone * (0.84 + 0.16 * np.cos((depth / width - 0.3) * 2.6)) * (1 + 0.02 * _clouds(rng, 4))
        steel = shade[..., None] * np.array([0.97, 1.0, 1.04], np.float32)
        _mix(frame, 0.0, 0.30 * np.clip(1 + depth / 5, 0, 1) * (depth < 0))  # shadow that the rail throws
        alpha = np.clip(depth + 0.5, 0, 1)[..., None]
        frame += alpha * (steel - frame)
        _mix(frame, tone * 1.30, 0.55 * _ramp(np.abs(depth - 1.6) - 0.6, 1.6))  # lit lip
        middle = inner + sign * width * 0.56
        along = (_X - phase + pitch / 2) % pitch - pitch / 2
        head = np.hypot(along, _Y - middle)
        _mix(frame, tone * 0.62, 0.75 * _ramp(head - 2.9, 1.6))
        _mix(frame, tone * 0.98, 0.75 * _ramp(np.hypot(along + 0.4, _Y - middle + 0.5) - 1.7, 1.6))
    return width, SIZE - width


def _clutter(frame: np.ndarray, rng: Rng) -> None:
    for _ in range(rng.integers(0, 4)):  # oil
        reach = np.hypot((_X - rng.uniform(0, SIZE)) / rng.uniform(0.7, 1.6), _Y - rng.uniform(20, SIZE - 20))
        spot = reach + 3 * _clouds(rng, 12) - rng.uniform(4, 12)
        _mix(frame, frame.mean() * 0.5, rng.uniform(0.2, 0.5) * _ramp(spot, 6))
    for _ in range(rng.integers(1, 6)):  # scratches
        angle, place = rng.uniform(-0.5, 0.5), rng.uniform(18, SIZE - 18)
        start, length = rng.uniform(0, SIZE), rng.uniform(15, 60)
        across = np.abs((_Y - place) - np.tan(angle) * (_X - start))
        ends = np.abs(_X - start) - length / 2
        _mix(frame, 0.42, rng.uniform(0.10, 0.30) * _ramp(across - 0.3, 1.2) * _ramp(ends, 8))
    for _ in range(rng.integers(0, 4)):  # worn paint and dust: round spots with weak edges
        reach = np.hypot((_X - rng.uniform(0, SIZE)) / rng.uniform(0.8, 1.5), _Y - rng.uniform(22, SIZE - 22))
        colour = rng.uniform(0.22, 0.42) * np.array(rng.uniform(0.85, 1.15, 3), np.float32)
        _mix(frame, colour, rng.uniform(0.3, 0.7) * _ramp(reach - rng.uniform(3, 11), rng.uniform(4, 9)))
    for _ in range(rng.integers(0, 9)):  # swarf
        reach = np.hypot(_X - rng.uniform(0, SIZE), _Y - rng.uniform(16, SIZE - 16))
        _mix(frame, 0.5, rng.uniform(0.2, 0.6) * _ramp(reach - 0.5, 1.0))


def _relief(distance: Field, radius: float, light: float) -> tuple[Field, Field]:
    """Return diffuse and specular light of a part with a rounded edge; `distance` in pixels."""
    bevel = max(1.6, 0.16 * radius)
    height = np.sqrt(np.clip(1 - np.square(np.clip(1 + distance / bevel, 0, 1)), 0, 1)) * bevel * 0.8
    slope_y, slope_x = np.gradient(height)
    norm = np.sqrt(1 + slope_x**2 + slope_y**2)
    toward = (-np.cos(light) * slope_x - np.sin(light) * slope_y) * -0.62 + 0.78
    diffuse = np.clip(toward / norm, 0, None)
    return diffuse, np.clip(diffuse, 0, 1) ** 14


def _part(frame: np.ndarray, kind: int, free: tuple[float, float], rng: Rng, light: float) -> Field:
    """Paint one part; returns its coverage (h, w), 0..1."""
    radius = rng.uniform(8.0, 15.5)
    low, high = free[0] + radius + 1, free[1] - radius - 1
    cx, cy = rng.uniform(radius + 2, SIZE - radius - 2), rng.uniform(low, high)
    turn = rng.uniform(0, 2 * np.pi)
    squeeze = rng.uniform(0.86, 1.0)  # seen slightly from the side
    dx, dy = (_X - cx) / radius, (_Y - cy) / radius / squeeze
    x, y = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    distance = SHAPES[kind](x, y, rng).astype(np.float32) * radius
    throw = int(rng.integers(1, 4))
    shadow = np.roll(_ramp(distance, 1.0), (throw, int(np.cos(light) * throw)), (0, 1))
    frame *= 1 - rng.uniform(0.35, 0.6) * _smooth(shadow, 1.3)[..., None]
    diffuse, gloss = _relief(distance, radius, light)
    metal = METALS[rng.integers(len(METALS))] * rng.uniform(0.75, 1.15)
    grain = 1 + 0.05 * _clouds(rng, 2) + 0.06 * np.sin((x * 0.8 + y * 0.6) * radius * 0.9 + rng.uniform(0, 6))
    surface = (metal * (0.35 + 0.75 * diffuse * grain)[..., None]) + rng.uniform(0.05, 0.3) * gloss[..., None]
    cover = _ramp(distance, 1.0)
    frame += cover[..., None] * (surface - frame)
    if rng.random() < 0.3:  # rust or grease on the metal
        spot = np.hypot(_X - cx - rng.uniform(-6, 6), _Y - cy - rng.uniform(-6, 6)) + 2 * _clouds(rng, 8)
        _mix(frame, np.array([0.30, 0.21, 0.15], np.float32), 0.6 * cover * _ramp(spot - rng.uniform(2, 5), 3))
    if rng.random() < 0.35:
        _cable(frame, (cx, cy), radius, rng)
    return cover


def _cable(frame: np.ndarray, centre: tuple[float, float], radius: float, rng: Rng) -> None:
    """Lay a cable across a place: a dark band of some pixels with a soft gleam."""
    turn, offset = rng.uniform(0, np.pi), rng.uniform(-0.6, 0.6) * radius
    bend = rng.uniform(-0.006, 0.006)
    along = (_X - centre[0]) * np.cos(turn) + (_Y - centre[1]) * np.sin(turn)
    across = (_Y - centre[1]) * np.cos(turn) - (_X - centre[0]) * np.sin(turn) - offset - bend * along**2
    half = rng.uniform(1.2, 3.4)
    frame *= 1 - 0.35 * _ramp(np.abs(across - 1.5) - half, 3)[..., None]
    tone = rng.uniform(0.10, 0.16) * (1 + 0.5 * np.clip(1 - np.abs(across / half + 0.4), 0, 1))
    alpha = _ramp(np.abs(across) - half, 1.2)[..., None]
    frame += alpha * (tone[..., None] - frame)


def _light(frame: np.ndarray, rng: Rng, light: float) -> None:
    across = (_X / SIZE - 0.5) * np.cos(light) + (_Y / SIZE - 0.5) * np.sin(light)
    glow = 1 - rng.uniform(0.1, 0.6) * across - 0.25 * (np.square(_X / SIZE - 0.5) + np.square(_Y / SIZE - 0.5))
    frame *= (glow * rng.uniform(0.7, 1.5))[..., None] * np.array(rng.uniform(0.94, 1.06, 3), np.float32)
    if rng.random() < 0.35:  # somebody stands in the light
        edge = (_X - rng.uniform(0, SIZE)) + (_Y - SIZE / 2) * rng.uniform(-0.7, 0.7)
        frame *= 1 - rng.uniform(0.2, 0.45) * _ramp(np.abs(edge) - rng.uniform(14, 34), rng.uniform(8, 16))[..., None]


def _camera(frame: np.ndarray, rng: Rng) -> np.ndarray:
    """Blur, sensor noise, gamma, and the JPEG that a camera sends."""
    frame = _smooth(frame, 0.4 + min(rng.exponential(0.35), 1.6))  # not always in focus
    blur = int(rng.choice([1, 1, 2, 3, 4]))  # the belt moves
    frame = sum(np.roll(frame, k, 1) for k in range(blur)) / blur
    noise = rng.standard_normal(frame.shape).astype(np.float32) * 0.5 + rng.standard_normal((SIZE, SIZE, 1))
    frame = frame + noise * (0.005 + min(rng.exponential(0.015), 0.05)) * np.sqrt(0.25 + np.clip(frame, 0, 1))
    frame = np.clip(frame, 0, 1) ** (1 / 1.35)
    return jpeg_pixels(jpeg((frame * 255 + 0.5).astype(np.uint8)))


def jpeg(pixels: np.ndarray) -> bytes:
    """Bytes of a JPEG of quality 90."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=90)
    return content.getvalue()


def jpeg_pixels(content: bytes) -> np.ndarray:
    """Pixels (h, w, 3) of a JPEG."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def draw(rng: Rng, kind: int) -> Frame:
    """One frame with a part of `kind`, or with an empty belt for EMPTY."""
    light = rng.uniform(0.6, 2.2)
    frame = _belt(rng).astype(np.float32)
    _clutter(frame, rng)
    free = _rails(frame, rng)
    box = (0, 0, 0, 0)
    if kind != EMPTY:
        ys, xs = np.nonzero(_part(frame, kind, free, rng, light) > 0.5)
        box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    elif rng.random() < 0.35:
        _cable(frame, (rng.uniform(20, SIZE - 20), SIZE / 2), 12.0, rng)
    _light(frame, rng, light)
    return Frame(_camera(frame, rng), box, kind)
