"""The picture of labels over an image."""

import matplotlib.image
import numpy as np
import pytest

from msdk_rt.errors import OutputError
from msdk_rt.imaging.overlay import draw_overlay


def test_a_label_colours_the_picture(tmp_path):
    image = np.random.default_rng(0).random((31, 40, 23)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    draw_overlay(image, labels, {"background": 0, "ball": 3}, "nothing", tmp_path / "empty.png")
    labels[10:20, 15:25, 8:16] = 3
    draw_overlay(image, labels, {"background": 0, "ball": 3}, "a ball", tmp_path / "ball.png")
    empty, ball = (coloured_share(tmp_path / name) for name in ("empty.png", "ball.png"))
    assert ball > empty + 0.01


def coloured_share(path):
    """Fraction of the pixels that are not grey."""
    pixels = matplotlib.image.imread(path)[..., :3]
    return np.mean(np.ptp(pixels, axis=-1) > 0.05)


def test_a_folder_that_is_not_there(tmp_path):
    cube = np.ones((4, 4, 4), np.uint8)
    with pytest.raises(OutputError, match="cannot write"):
        draw_overlay(cube, cube, {"tissue": 1}, "t", tmp_path / "missing" / "overlay.png")
