"""The way of a volume through a GPU: up once, normalised, cut, inferred, blended, labelled, labels down.

| module | holds |
| --- | --- |
| pipeline | what is enqueued for a volume, and in which order |
| workspace | the device memory of one shape of volume, counted before it is allocated |
| kernels | libmsdk_volume.so through ctypes |
| arrays | arrays of other libraries on the device, and our results there |

The device itself is msdk_rt.cuda: streams, events, memory, graphs. In the tests a model of it in host memory
takes its place, with the same kernels compiled for the host (tests/emulated_device.py).
"""
