"""The settings of a cohort's Segmenter, and the executor that runs the cohort in this process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from msdk_rt.artifact.manifest import Manifest
from msdk_rt.cohort.cases import Case
from msdk_rt.cohort.records import Request, model_of, versions
from msdk_rt.cohort.remote.staging import staging_for
from msdk_rt.cohort.run import Outcome, Tell, run_cases
from msdk_rt.segmenter import Segmenter


@dataclass(frozen=True)
class Opening:
    """How a cohort's Segmenter is opened; can be sent to another process. The entries are Segmenter's own."""

    path: Path
    providers: tuple[str, ...] | None = None
    overlap: float = 0.5
    blend: str | None = None
    batch_size: int = 1
    mirror_axes: tuple[int, ...] | None = None
    threads: int | None = None

    def open(self) -> Segmenter:
        """Raises what Segmenter raises."""
        return Segmenter(
            self.path,
            providers=self.providers,
            overlap=self.overlap,
            blend=self.blend,
            batch_size=self.batch_size,
            mirror_axes=self.mirror_axes,
            threads=self.threads,
        )

    def request(self, manifest: Manifest, probabilities: bool = False, overwrite: bool = False) -> Request:
        """What is asked of every case. What it is made with is known where a Segmenter is open."""
        settings: dict[str, Any] = {
            "overlap": self.overlap,
            "blend": self.blend or manifest.blending["mode"],
            "mirror_axes": sorted(manifest.mirror_axes if self.mirror_axes is None else self.mirror_axes),
        }
        return Request(model_of(manifest), settings, {}, manifest.labels, probabilities, overwrite)

    def made_with(self, segmenter: Segmenter) -> dict[str, Any]:
        """Entries of a record that say what made the result in this process."""
        return versions() | {
            "providers": segmenter.providers,
            "threads": segmenter.threads,
            "batch_size": self.batch_size,
        }


class Executor(Protocol):
    """Runs the cases of a plan, here or elsewhere."""

    manifest: Manifest

    def run(
        self, cases: Sequence[Case], request: Request, tell: Tell, progress: bool = False
    ) -> Iterator[Outcome]:
        """One outcome for each case, in any order. tell: takes a line about a case. Raises MsdkError."""

    def described(self) -> dict[str, Any]:
        """Entries of the report about where the cases ran."""

    def close(self) -> None:
        """Release the network."""


class Here:
    """Runs cases in this process, in order."""

    def __init__(self, opening: Opening):
        self._opening, self._segmenter = opening, opening.open()
        self.manifest = self._segmenter.manifest

    def run(
        self, cases: Sequence[Case], request: Request, tell: Tell, progress: bool = False
    ) -> Iterator[Outcome]:
        request = replace(request, made_with=self._opening.made_with(self._segmenter))
        planned = {case.name: case for case in cases}
        staging = staging_for(cases)
        for outcome in run_cases(self._segmenter, cases, request, tell, progress, staging):
            yield replace(outcome, case=planned[outcome.case.name])

    def described(self) -> dict[str, Any]:
        return {"providers": self._segmenter.providers, "threads": self._segmenter.threads}

    def close(self) -> None:
        self._segmenter.close()
