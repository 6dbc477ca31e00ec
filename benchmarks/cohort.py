"""What does a cohort gain from reading the next case and writing the last while the network runs?

Six heads of 1 mm with four channels each, .nii.gz, through a network of one convolution, whose share of the
time is small: one case after the other against the overlapped run, on two cores. Both write the same files.
"""

import tempfile
from pathlib import Path

import nibabel
import numpy as np

from benchmarks.measure import Contestant, measure
from msdk_export.synthetic.template import load_template
from msdk_rt import Segmenter
from msdk_rt.cohort.plan import plan
from msdk_rt.cohort.records import Request, model_of
from msdk_rt.cohort.run import run_case, run_cases
from tests.support.small_model import write_artifact

THREADS = 2
CASES, CHANNELS = 6, 4
WINDOW = (96, 96, 96)
NOISE = 15


def write_scans(folder: Path) -> None:
    """Heads that compress as scans do: integers up to 1000 with noise."""
    folder.mkdir()
    image = load_template().t1.numpy()
    image = image / image.max() * 1000
    for case in range(CASES):
        for channel in range(CHANNELS):
            noise = np.random.default_rng([case, channel]).normal(0, NOISE, image.shape) * (image > 0)
            voxels = (image + noise).clip(0).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / f"{case}_{channel:04d}.nii.gz")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        artifact = write_artifact(Path(folder) / "model.onnx", CHANNELS, classes=4, window=WINDOW)
        write_scans(Path(folder) / "scans")
        with Segmenter(artifact, threads=THREADS, overlap=0.0) as segmenter:
            manifest = segmenter.manifest
            request = Request(model_of(manifest), {}, {}, manifest.labels, overwrite=True)
            cases = plan([Path(folder) / "scans"], manifest.channels, Path(folder) / "out").cases

            def quiet(line: str) -> None:
                """The lines about each case would mix with the table."""

            contestants = [
                Contestant("overlapped", lambda: list(run_cases(segmenter, cases, request, quiet)), THREADS),
                Contestant(
                    "one by one",
                    lambda: [run_case(segmenter, case, request, quiet) for case in cases],
                    THREADS,
                ),
            ]
            case = f"{CASES} heads of 1 mm, {CHANNELS} channels, {len(manifest.labels)} labels"
            measure("cohort", case, contestants, work=CASES, unit="cases", seconds=60.0, least_runs=6)


if __name__ == "__main__":
    main()
