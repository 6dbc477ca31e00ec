"""How TensorRT is to build an engine. Needs no TensorRT itself."""

from dataclasses import dataclass
from pathlib import Path

from msdk_rt.errors import ExportError


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How TensorRT builds an engine. Raises ExportError for a value out of range.

    Attributes:
        best_batch: windows per inference to tune for.
        max_batch: windows per inference at most.
        workspace: bytes of device memory that a layer may take while it works; None: all there is.
        optimization_level: 0 (quick build) to 5 (quick engine).
        timing_cache: a file that keeps measurements for the next build; None: measure everything again.
        version_compatible: later TensorRTs of the same major version run the engine too. Costs speed.
        hardware_compatible: all GPUs of compute capability 8.0 and above run it. Costs speed.
    """

    best_batch: int = 1
    max_batch: int = 4
    workspace: int | None = None
    optimization_level: int = 3
    timing_cache: Path | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.best_batch <= self.max_batch:
            raise ExportError(
                f"best_batch must be from 1 to max_batch, got {self.best_batch} with max_batch "
                f"{self.max_batch}"
            )
        if self.optimization_level not in range(6):
            raise ExportError(f"optimization_level must be from 0 to 5, got {self.optimization_level}")
        if self.workspace is not None and self.workspace < 1:
            raise ExportError(f"workspace must be a positive number of bytes, got {self.workspace}")
