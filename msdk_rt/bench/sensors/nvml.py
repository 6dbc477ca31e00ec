"""An NVIDIA GPU's sensors through NVML, by the package nvidia-ml-py. Never run on a GPU yet.

Units and names are those of NVML's reference manual: clocks in MHz, power in mW, energy in mJ, memory in
bytes.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

from msdk_rt.bench.sensors.base import INTERVAL, Sample, SensorProblem

# Bits of nvmlClocksEventReasons that mean slower than asked for: idle and set clocks are not among them.
LIMITS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "temperature (driver)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}


class Nvml:
    """CUDA device `index` among `visible`, which is CUDA_VISIBLE_DEVICES or None. Raises SensorProblem.

    NVML numbers devices by PCI bus, CUDA the fastest first unless CUDA_DEVICE_ORDER says PCI_BUS_ID: on a
    machine with different GPUs, check `name`.
    """

    def __init__(self, index: int, visible: str | None):
        try:
            import pynvml
        except ImportError:
            raise SensorProblem("pynvml is not installed: pip install nvidia-ml-py") from None
        self._nvml, self._stopped = pynvml, threading.Event()
        try:
            pynvml.nvmlInit()
            self._device = self._find(index, visible)
            self.name = f"{pynvml.nvmlDeviceGetName(self._device)} (NVML)"
        except pynvml.NVMLError as error:
            raise SensorProblem(f"NVML does not know the device: {error}") from None

    def samples(self) -> Iterator[Sample]:
        """Yield one sample every INTERVAL until stop()."""
        while True:
            yield self._sample()
            if self._stopped.wait(INTERVAL):
                return

    def stop(self) -> None:
        self._stopped.set()

    def _find(self, index: int, visible: str | None) -> Any:
        names = [name.strip() for name in visible.split(",")] if visible else []
        name = names[index] if index < len(names) else str(index)
        if name.isdigit():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(name))
        return self._nvml.nvmlDeviceGetHandleByUUID(name)

    def _sample(self) -> Sample:
        nvml = self._nvml
        reasons = self._read("nvmlDeviceGetCurrentClocksEventReasons") or 0
        memory = self._read("nvmlDeviceGetMemoryInfo")
        return Sample(
            at=time.perf_counter(),
            clock_mhz=self._read("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            temperature_c=self._read("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            power_w=_thousandth(self._read("nvmlDeviceGetPowerUsage")),
            memory_mb=None if memory is None else memory.used / 1e6,
            joules=_thousandth(self._read("nvmlDeviceGetTotalEnergyConsumption")),
            limits=tuple(name for bit, name in LIMITS.items() if reasons & bit),
        )

    def _read(self, function: str, *arguments: object) -> Any:
        """None for what this device, driver or release of the package does not tell."""
        try:
            return getattr(self._nvml, function)(self._device, *arguments)
        except (AttributeError, self._nvml.NVMLError):
            return None


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1e3
