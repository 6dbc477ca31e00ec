"""Cases of nnU-Net's from file to file: the commands as a user starts them, and their stages.

`nnUNetv2_predict` and `msdk-rt run` segment a folder with one case, with THREADS threads each, start-up
included; then the same work by stage in one process, without start-up. The cases (benchmarks.nnunet_cases): a
head whose windows take the time, and a CT with 25 classes whose resampling does. Labels must agree. Memory is
also measured with 117 classes.

    python -m benchmarks.nnunet prepare FOLDER   train the networks, once
    python -m benchmarks.nnunet commands FOLDER [CASE] [mirror]
    python -m benchmarks.nnunet stages FOLDER [CASE] [mirror]
    python -m benchmarks.nnunet memory FOLDER [CASE]

`python -m benchmarks nnunet` does all of it in a folder that is removed.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import nnunet_cases, process_tree
from benchmarks.measure import record
from msdk_rt import Segmenter
from msdk_rt.imaging.results import in_space_of_file
from msdk_rt.imaging.volumes import read_volume
from msdk_rt.inference.device.arrays import on_host
from msdk_rt.inference.stages import Stages

THREADS = 2
LEAST_AGREEMENT = 0.9999
PREPARE = ("crop", "normalise", "resample")
PROGRAMS = Path(sys.executable).parent
# Libraries of PyTorch's and NumPy's that start one thread for each processor otherwise.
ENVIRONMENT = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def theirs(folder: Path, mirror: bool) -> Callable[[Path, Path], dict[str, float]]:
    """nnU-Net's own functions in the order in which its predictor calls them; seconds by stage."""
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape,
    )
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    preprocessor = configuration.preprocessor_class(verbose=False)

    def run(source: Path, target: Path) -> dict[str, float]:
        stages = Stages()
        reader = plans.image_reader_writer_class()
        with stages("read"):
            data, properties = reader.read_images([str(source)])
        with stages("prepare"):
            data, _, properties = preprocessor.run_case_npy(
                data, None, properties, plans, configuration, predictor.dataset_json
            )
        with stages("windows"):
            logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
        with stages("back"):
            labels = convert_predicted_logits_to_segmentation_with_correct_shape(
                logits.numpy(),
                plans,
                configuration,
                predictor.label_manager,
                properties,
                num_threads_torch=THREADS,
            )
        with stages("write"):
            reader.write_seg(labels, str(target), properties)
        return stages.seconds

    return run


def ours(artifact: Path, mirror: bool) -> Callable[[Path, Path], dict[str, float]]:
    """The same stages here; seconds by stage."""
    segmenter = Segmenter(artifact, threads=THREADS, mirror_axes=None if mirror else ())
    manifest = segmenter.manifest

    def run(source: Path, target: Path) -> dict[str, float]:
        outside, inside = Stages(), Stages()
        with outside("read"):
            volume = read_volume([source], manifest.channels, manifest.orientation)
        labels, _ = segmenter._segment(volume.data, stages=inside, spacing=volume.space.spacing)
        with outside("write"):
            in_space_of_file(on_host(labels), None, volume.space).save(target)
        seconds = inside.seconds
        return {
            "read": outside.seconds["read"],
            "prepare": sum(seconds[name] for name in PREPARE),
            "windows": sum(seconds[name] for name in ("gather", "infer", "blend")),
            "back": seconds["label"],
            "write": outside.seconds["write"],
        }

    return run


def commands(case: nnunet_cases.Case, folder: Path, mirror: bool) -> dict[str, list[str]]:
    """The two programs on the case's folder of images; results go to a folder for each."""
    predict = ["-i", str(case.images), "-o", str(folder / "nnU-Net"), "-d", str(case.dataset)]
    predict += ["-c", nnunet_cases.CONFIGURATION, "-f", "0", "-device", "cpu"]
    run = [str(case.artifact), str(case.images), "-o", str(folder / "msdk_rt"), "--threads", str(THREADS)]
    return {
        "msdk_rt": [str(PROGRAMS / "msdk-rt"), "run", *run, *([] if mirror else ["--no-mirror"])],
        "nnU-Net": [str(PROGRAMS / "nnUNetv2_predict"), *predict, *([] if mirror else ["--disable_tta"])],
    }


def time_commands(case: nnunet_cases.Case, mirror: bool = False, memory: bool = False) -> None:
    """One run of each; their labels are compared. memory: record the peaks, and no times."""
    environment = ENVIRONMENT | {
        name: str(case.results.parents[1]) for name in ("nnUNet_results", "nnUNet_raw", "nnUNet_preprocessed")
    }
    title = f"{case.title}, {_views(mirror)}, commands, {THREADS} threads"
    with tempfile.TemporaryDirectory() as name:
        costs = {
            contestant: process_tree.run(command, environment, memory)
            for contestant, command in commands(case, Path(name), mirror).items()
        }
        files = [Path(name) / contestant / f"{case.name}.nii.gz" for contestant in costs]
        alike = agreement(*files)
    values = {contestant: cost.peak if memory else cost.seconds for contestant, cost in costs.items()}
    ratio = values["nnU-Net"] / values["msdk_rt"]
    unit, what = ("MB", "peak memory") if memory else ("s", "from start to end")
    print(f"  {title}")
    print(f"  {what}: msdk_rt {values['msdk_rt']:.1f} {unit}, nnU-Net {values['nnU-Net']:.1f} {unit}")
    print(f"  ratio {ratio:.2f}", flush=True)
    record("nnunet", title, {f"{contestant}, {what}": value for contestant, value in values.items()}, unit)
    record("nnunet", title, {f"{what}, ratio": ratio}, "")
    if case.trained:
        _record_agreement(title, alike)


def time_stages(case: nnunet_cases.Case, mirror: bool = False) -> None:
    """The same work in one process, by stage."""
    torch.set_num_threads(THREADS)
    title = f"{case.title}, {_views(mirror)}, stages, {THREADS} threads"
    contestants = {"msdk_rt": ours(case.artifact, mirror), "nnU-Net": theirs(case.results, mirror)}
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / f"{contestant}.nii.gz" for contestant in contestants]
        for (contestant, run), target in zip(contestants.items(), files, strict=True):
            began = time.perf_counter()
            seconds[contestant] = run(case.image, target) | {"whole": time.perf_counter() - began}
        alike = agreement(*files)
    _tell(title, seconds)
    record("nnunet", title, _figures(seconds), "s")
    _record_agreement(title, alike)


def agreement(ours: Path, theirs: Path) -> dict[str, float]:
    """Percent of labels alike: of all voxels, and of those that either calls foreground."""
    import nibabel

    mine, other = (np.asarray(nibabel.load(path).dataobj) for path in (ours, theirs))
    foreground = (mine > 0) | (other > 0)
    alike = mine == other
    return {"all": 100 * float(alike.mean()), "foreground": 100 * float(alike[foreground].mean())}


def _record_agreement(title: str, alike: dict[str, float]) -> None:
    shares = {f"labels alike, {what}": share for what, share in alike.items()}
    print("\n".join(f"  {what}: {share:.4f} %" for what, share in shares.items()), flush=True)
    record("nnunet", title, shares, "%")
    if alike["all"] < 100 * LEAST_AGREEMENT:
        raise SystemExit(f"{title}: below {LEAST_AGREEMENT:.2%} of labels alike")


def _views(mirror: bool) -> str:
    return "8 views" if mirror else "no mirroring"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        for kind in nnunet_cases.KINDS:
            case = nnunet_cases.make(kind, Path(name))
            for mirror in (False, True) if case.trained else ():
                time_commands(case, mirror)
                time_stages(case, mirror)
            time_commands(case, memory=True)


def run_part(part: str, folder: str, *options: str) -> None:
    """One part of it, on models that are kept."""
    kinds = [kind for kind in nnunet_cases.KINDS if kind in options] or list(nnunet_cases.KINDS)
    for kind in kinds:
        case, mirror = nnunet_cases.make(kind, Path(folder)), "mirror" in options
        if part == "commands":
            time_commands(case, mirror)
        elif part == "stages":
            time_stages(case, mirror)
        elif part == "memory":
            time_commands(case, memory=True)
        elif part != "prepare":
            raise SystemExit(f"unknown part {part!r}, expected prepare, commands, stages or memory")


def _tell(case: str, seconds: dict[str, dict[str, float]]) -> None:
    mine, other = seconds["msdk_rt"], seconds["nnU-Net"]
    print(f"  {case}\n  {'stage':<10}{'msdk_rt':>10}{'nnU-Net':>10}{'ratio':>8}")
    for stage, own in mine.items():
        print(f"  {stage:<10}{own:>8.2f} s{other[stage]:>8.2f} s{other[stage] / own:>8.1f}")


def _figures(seconds: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        f"{contestant}, {stage}": value
        for contestant, stages in seconds.items()
        for stage, value in stages.items()
    }


if __name__ == "__main__":
    if sys.argv[1:]:
        run_part(*sys.argv[1:])
    else:
        main()
