"""A small PNG of labels over an image in three planes, made with NumPy and zlib alone."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from nibabel.orientations import io_orientation

from msdk_rt.imaging.overlay import OPACITY, PALETTE
from msdk_rt.imaging.space import Space, sides_of
from msdk_rt.inference.arrays import Array

SIDE = 144  # pixels of one plane's square
GREYS = 36  # times seven colours are a palette of 252
DARKEST, BRIGHTEST = 1, 99.5  # percentiles of the voxels shown


def three_planes(image: Array, labels: Array, space: Space, values: Sequence[int]) -> bytes:
    """A PNG of an axial, a coronal and a sagittal plane side by side, right and front at the right, top up.

    image, labels: (X, Y, Z) in the file's axis order. values: voxel values to colour, in this order. Each
    plane is the one with the largest share of every colour's voxels, the middle one where there are none.
    """
    space = replace(space, orientation="RAS")
    sides = _sides(space)
    image, labels = space.to_model(image), space.to_model(labels)
    painted = _colour_index(labels, values)
    canvas = np.zeros((SIDE, 3 * SIDE), np.uint8)
    planes = [_plane(painted, axis) for axis in (2, 1, 0)]
    shown = [np.asarray(image[plane], np.float32) for plane in planes]
    low, high = np.percentile(np.concatenate([plane.ravel() for plane in shown]), (DARKEST, BRIGHTEST))
    for index, (axis, plane) in enumerate(zip((2, 1, 0), planes, strict=True)):
        across, up = (sides[other] for other in range(3) if other != axis)
        rows, columns = _pixels(painted[plane].shape, across, up)
        grey = np.clip((shown[index] - low) / max(high - low, 1e-12), 0, 1) * (GREYS - 1)
        picture = grey.astype(np.uint8) + GREYS * painted[plane]
        picture = picture[np.ix_(columns, rows)].T[::-1]
        top, left = (SIDE - len(rows)) // 2, index * SIDE + (SIDE - len(columns)) // 2
        canvas[top : top + len(rows), left : left + len(columns)] = picture
    return indexed_png(canvas, _palette())


def indexed_png(pixels: Array, palette: Array) -> bytes:
    """PNG (W3C, second edition) of pixels (H, W) uint8 with the palette (at most 256, 3) uint8."""
    height, width = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels], axis=1)  # filter type 0
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", palette.tobytes()), (b"IDAT", zlib.compress(lines.tobytes(), 9))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in [*chunks, (b"IEND", b"")])


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def _palette() -> Array:
    """Grey under nothing and under each colour, (GREYS * 7, 3)."""
    grey = np.linspace(0, 255, GREYS)[:, None].repeat(3, axis=1)
    colours = [np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) for code in PALETTE]
    painted = [(1 - OPACITY) * grey + OPACITY * colour for colour in colours]
    palette: Array = np.concatenate([grey, *painted]).round().astype(np.uint8)
    return palette


def _colour_index(labels: Array, values: Sequence[int]) -> Array:
    """0 where there is no colour, else 1 and up to the palette's length, in turn."""
    table = np.zeros(max([int(labels.max()), *values]) + 1, np.uint8)
    for index, value in enumerate(values):
        table[value] = 1 + index % len(PALETTE)
    painted: Array = table[labels]
    return painted


def _plane(painted: Array, axis: int) -> tuple[slice | int, ...]:
    """The plane across `axis` with the largest share of every colour's voxels, so that small ones count."""
    planes = np.moveaxis(painted, axis, 0)
    counts = np.stack([np.bincount(plane.ravel(), minlength=1 + len(PALETTE)) for plane in planes])[:, 1:]
    shares = (counts / np.maximum(counts.sum(axis=0), 1)).sum(axis=1)
    place = int(shares.argmax()) if shares.any() else len(planes) // 2
    return tuple(place if other == axis else slice(None) for other in range(3))


def _pixels(shape: tuple[int, ...], across: float, up: float) -> tuple[Array, Array]:
    """The voxel of each row and of each column of pixels, for a plane (A, B) that fills its square."""
    width, height = shape[0] * across, shape[1] * up
    scale = SIDE / max(width, height)
    rows, columns = (max(1, round(length * scale)) for length in (height, width))
    return (np.arange(rows) * shape[1]) // rows, (np.arange(columns) * shape[0]) // columns


def _sides(space: Space) -> list[float]:
    """Of a voxel in millimetres, along right, front and top."""
    lengths = sides_of(space.affine)
    sides = [1.0, 1.0, 1.0]
    for axis, (target, _) in enumerate(io_orientation(space.affine)):
        sides[int(target)] = float(lengths[axis])
    return sides
