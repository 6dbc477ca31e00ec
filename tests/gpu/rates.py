"""Peak rates of a GPU, and the time that a piece of work takes at them: its floor."""

import ctypes
from dataclasses import dataclass

import numpy as np

from tests.gpu.device import Device
from tests.support.cases import ConvCase, KanCase, ScanCase

EXPONENTIALS_A_CLOCK = 16  # of one SM's special-function units, on every GPU since sm_75
MULTIPLY_ADDS_A_CLOCK = 128  # of one SM in float32, since sm_86; half as many on sm_75 and sm_80


@dataclass(frozen=True)
class Rates:
    """clock: in Hz, the highest that the SMs run at. bandwidth: of device memory, in bytes a second."""

    sms: int
    clock: float
    bandwidth: float

    @classmethod
    def of(cls, device: Device) -> "Rates":
        sms, clock, bandwidth = ctypes.c_int(), ctypes.c_double(), ctypes.c_double()
        device.runtime.check_rates(ctypes.byref(sms), ctypes.byref(clock), ctypes.byref(bandwidth))
        unknown = float("nan")  # what a driver does not tell is 0, on GPUs that share the processor's memory
        return cls(sms.value, clock.value or unknown, bandwidth.value or unknown)

    def floor_ms(self, work: "Work") -> float:
        """The longest time of the exponentials, the multiply-adds and the bytes, of what is known."""
        exponentials = work.exponentials / (EXPONENTIALS_A_CLOCK * self.sms * self.clock)
        multiply_adds = work.multiply_adds / (MULTIPLY_ADDS_A_CLOCK * self.sms * self.clock)
        return 1e3 * np.fmax(np.fmax(exponentials, multiply_adds), work.bytes / self.bandwidth)


@dataclass(frozen=True)
class Work:
    """The least work of any implementation: one ex2 an update, each tensor read or written once.

    multiply_adds: in float32; those of tensor cores, whose rates differ, are not counted.
    """

    exponentials: int
    bytes: int
    multiply_adds: int = 0


def scan_work(case: ScanCase, element: int) -> Work:
    """Of the scan with elements of so many bytes; its parameters are too small to count."""
    tokens = case.B * case.L
    u, x_dbl = case.K * case.D, case.K * (case.R + 2 * case.N)
    y_and_z = case.D * (2 if case.has_z else 1)
    return Work(case.updates, tokens * (u + x_dbl + y_and_z) * element)


def conv_work(case: ConvCase, element: int) -> Work:
    tokens = case.B * case.L
    return Work(tokens * case.K * case.D, tokens * (case.K + 1) * case.D * element)


def kan_work(case: KanCase, element: int) -> Work:
    """Of the KAN layer, which multiplies on tensor cores in float16."""
    tokens = case.B * case.L
    products = tokens * case.C * (case.G + 1) * case.O if element == 4 else 0
    return Work(tokens * case.C, tokens * (case.C + case.O) * element, products)
