"""The small PNG of three planes: decoded by another library, and its planes where they should be."""

import io

import nibabel
import numpy as np
import pytest
from nibabel.orientations import io_orientation
from PIL import Image

from msdk_rt.imaging.overlay import PALETTE
from msdk_rt.imaging.picture import SIDE, indexed_png, three_planes
from msdk_rt.imaging.space import Space


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_png_of_indices():
    palette = np.random.default_rng(0).integers(0, 256, (200, 3)).astype(np.uint8)
    pixels = np.random.default_rng(1).integers(0, 200, (7, 13)).astype(np.uint8)
    np.testing.assert_array_equal(decoded(indexed_png(pixels, palette)), palette[pixels])


def head(shape=(40, 50, 30)):
    """Bright at the right, the front and the top; a small label near that corner."""
    x, y, z = np.ogrid[tuple(slice(0, side) for side in shape)]
    image = (x + y + z).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    labels[30:36, 40:46, 22:26] = 3
    return image, labels


def coloured(picture):
    """Rows and columns where a pixel is no grey."""
    return np.argwhere(np.ptp(picture.astype(int), axis=2) > 8)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
def test_every_orientation_gives_the_same_picture(codes):
    image, labels = head()
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    target = nibabel.orientations.axcodes2ornt(codes)
    turn = nibabel.orientations.ornt_transform(io_orientation(affine), target)
    turned = [nibabel.Nifti1Image(array, affine).as_reoriented(turn) for array in (image, labels)]
    space = Space(turned[0].affine, turned[0].shape)
    content = three_planes(np.asarray(turned[0].dataobj), np.asarray(turned[1].dataobj), space, [3])
    assert content == three_planes(image, labels, Space(affine, image.shape), [3])
    picture = decoded(content)
    assert picture.shape == (SIDE, 3 * SIDE, 3)
    for plane in range(3):
        rows, columns = coloured(picture[:, plane * SIDE : (plane + 1) * SIDE]).mean(axis=0)
        assert columns > SIDE / 2  # to the right, and in the sagittal plane to the front
        assert rows < SIDE / 2  # to the front, and in the others to the top


def test_a_plane_goes_through_the_smallest_label():
    image, labels = head()
    labels[:, :, 5] = 1
    labels[2:4, 2:4, 28] = 2
    picture = decoded(three_planes(image, labels, Space(np.eye(4), image.shape), [1, 2, 3]))
    wanted = np.array([int(PALETTE[0][index : index + 2], 16) for index in (1, 3, 5)])
    assert coloured(picture).size
    assert np.abs(picture.astype(int) - wanted).sum(axis=2).min() < 200
    nothing = three_planes(image, np.zeros_like(labels), Space(np.eye(4), image.shape), [1])
    assert not coloured(decoded(nothing)).size


@pytest.mark.parametrize("shape", [(1, 1, 1), (300, 2, 5), (1, 40, 3)])
def test_odd_shapes(shape):
    image = np.zeros(shape, np.float32)
    assert decoded(three_planes(image, image.astype(np.uint8), Space(np.eye(4), shape), [])).shape[0] == SIDE
