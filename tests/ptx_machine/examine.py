"""Examines mutants: whether the checks notice one, and if not, why."""

import hashlib
from pathlib import Path

import numpy as np

from tests.gpu.device import POISON, Array, Device, Library
from tests.ptx_machine.build import Change, Edit, build
from tests.ptx_machine.every_kernel import EVERY_KERNEL
from tests.ptx_machine.faults import report_on
from tests.ptx_machine.mutations import Mutant

NOTICED = "noticed"
NOT_RUN = "not run: no case reaches the instruction"
SAME = "the same: every result bit for bit"
WITHIN_TOLERANCE = "other bits: all results within the tolerances"


class RecordedArray(Array):
    """An array whose contents go into a digest when they are read."""

    def __init__(self, device: Library, shape: tuple[int, ...], dtype: np.dtype, digest):
        super().__init__(device, shape, dtype)
        self._digest = digest

    def get(self) -> np.ndarray:
        host = super().get()
        self._digest.update(host.tobytes())
        return host


class RecordedDevice(Device):
    """A device that keeps a digest of all results that are read from it."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.digest = hashlib.sha256()

    def empty(self, shape: tuple[int, ...], dtype=np.float32) -> Array:
        array = RecordedArray(self.runtime, shape, dtype, self.digest)
        array.fill(POISON)
        return array


class Examiner:
    """Of the mutants of one source, by the cases that run every kernel of it. Builds into the folder."""

    def __init__(self, source: Path, folder: Path):
        self._source, self._folder, self._builds = source, folder / f"mutants-{source.parent.name}", 0
        self._library, self._check = EVERY_KERNEL[source]
        report, self._sound = self._run(None)
        if report:
            raise AssertionError(f"the kernels of {source} without a mutation: {report}")

    def verdict_on(self, mutant: Mutant) -> str:
        report, results = self._run(mutant.edit)
        if report:
            return NOTICED
        if results != self._sound:
            return WITHIN_TOLERANCE
        reached, _ = self._run(mutant.trap)
        return SAME if reached else NOT_RUN

    def _run(self, edit: Edit | None) -> tuple[str | None, str]:
        """What is wrong with the kernels so edited, and a digest of their results."""
        change = Change(edit=edit, edited=self._source)
        names = ["check_device", self._library]
        device = RecordedDevice(build(self._folder / str(self._builds), names, change))
        self._builds += 1
        return report_on(device, self._check), device.digest.hexdigest()
