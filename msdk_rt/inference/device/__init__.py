"""Runs a volume on a GPU: uploads it once, normalises, cuts windows, infers, blends, labels, downloads.

| module | holds |
| --- | --- |
| pipeline | what is enqueued for a volume, and in which order |
| workspace | the device memory of one shape of volume, counted before it is allocated |
| arrays | arrays of other libraries on the device, and our results there |

The device itself is msdk_rt.backends.cuda: streams, events, memory, graphs. The tests replace it by a model
in host memory, with the same kernels compiled for the host (tests/support/emulated_device.py).
"""
