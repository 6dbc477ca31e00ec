"""What nnU-Net v2 resamples: scikit-image's resize and SciPy's map_coordinates, in float64."""

import numpy as np
from scipy.ndimage import map_coordinates
from skimage.transform import resize


def resample(data, shape, order, separate_axis=None, order_z=0):
    """data (C, D, H, W) as (C, *shape) of its own type; with separate_axis, plane by plane across it."""
    if data.shape[1:] == tuple(shape):
        return data
    return np.stack([_channel(channel, shape, order, separate_axis, order_z) for channel in data])


def _channel(volume, shape, order, axis, order_z):
    values = volume.astype(np.float64)
    if axis is None:
        return _resize(values, shape, order).astype(volume.dtype)
    sides = np.delete(shape, axis)
    values = np.stack([_resize(plane, sides, order) for plane in np.moveaxis(values, axis, 0)], axis)
    if values.shape != tuple(shape):
        places = [(np.arange(m) + 0.5) * (n / m) - 0.5 for n, m in zip(values.shape, shape, strict=True)]
        grid = np.meshgrid(*places, indexing="ij")
        values = map_coordinates(values, grid, order=order_z, mode="nearest")
    return values.astype(volume.dtype)


def _resize(values, shape, order):
    return resize(values, shape, order, mode="edge", anti_aliasing=False)


def labels_of(logits, values, activation):
    """Voxel values of logits (K, D, H, W), by argmax or by nnU-Net's order of regions."""
    if activation == "softmax":
        return np.asarray(values)[logits.argmax(0)]
    labels = np.zeros(logits.shape[1:], int)
    for channel, value in zip(logits, values, strict=True):
        labels[channel > 0] = value
    return labels
