"""float64 beside the artifact: slabs make the whole convolution, and it runs where memory is free."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from msdk_export.parity import exact
from msdk_export.parity.exact import ConvolutionsInSlabs, Exact, memory_taken

WINDOW = np.ones((1, 1, 4, 4, 4), np.float32)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), list(itertools.product((1, 2, 3), (0, 1, 2), (1, 2), (1, 2)))
)
def test_slabs_are_the_whole_convolution(stride, padding, dilation, groups, monkeypatch):
    monkeypatch.setattr(exact, "_SLAB_BYTES", 40_000)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, 4, 11, 6, 7, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 4 // groups, 3, 3, 3, generator=generator, dtype=torch.float64)
    bias = torch.randn(6, generator=generator, dtype=torch.float64)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    whole = F.conv3d(x, weight, bias, **options)
    with ConvolutionsInSlabs():
        found = F.conv3d(x, weight, bias, **options)

    assert found.shape == whole.shape
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("padding", [1, "same"])
def test_a_large_convolution_is_cut_into_slabs_in_every_mode(mode, padding, monkeypatch):
    monkeypatch.setattr(exact, "_SLAB_BYTES", 40_000)
    cut, in_slabs = [], exact._in_slabs
    monkeypatch.setattr(exact, "_in_slabs", lambda *arguments: cut.append(1) or in_slabs(*arguments))
    with mode(), ConvolutionsInSlabs():
        F.conv3d(torch.ones(1, 4, 11, 6, 7).double(), torch.ones(6, 4, 3, 3, 3).double(), padding=padding)
        F.conv3d(torch.ones(1, 1, 2, 2, 2).double(), torch.ones(1, 1, 1, 1, 1).double())
    assert cut == [1]


@pytest.mark.parametrize(("free", "runs"), [(None, True), (3e9, True), (2.4e9, False)])
def test_it_runs_where_twice_the_memory_of_float32_is_free(free, runs, monkeypatch):
    monkeypatch.setattr(exact, "available_memory", lambda: free)

    found = Exact(lambda window: window * 2, seconds=100.0, memory=1e9)(WINDOW)

    assert (found is not None) == runs
    if found is not None:
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, WINDOW * 2)


def test_memory_is_what_the_process_grew_by():
    taken = memory_taken()
    before = taken()

    held = np.ones(1 << 26)

    assert taken() - before >= 0.5 * held.nbytes or before > held.nbytes
