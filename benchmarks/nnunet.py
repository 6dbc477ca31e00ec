"""A case of nnU-Net's from file to file: nnUNetPredictor against us, by stage, with mirroring and without.

A PlainConvUNet of three stages from 16 channels, patches of 48^3, trained for a few steps and exported from
its results folder; an MR head of 1 x 1 x 3 mm, resampled to 1.5 mm. Each side has one thread: PyTorch's
wait for each other in loops, so other programs would be measured too. The labels must agree.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import msdk_rt
from benchmarks.measure import record
from msdk_rt import Segmenter
from msdk_rt.imaging.results import in_space_of_file
from msdk_rt.imaging.volumes import read_volume
from msdk_rt.inference.device.arrays import on_host
from msdk_rt.inference.stages import Stages
from tests.support import nnunet_folder

THREADS = 1
LEAST_AGREEMENT = 0.9999
SHAPE, SPACING = (120, 140, 44), (1.0, 1.0, 3.0)
PLAN: dict[str, Any] = {"patch": (48, 48, 48), "spacing": (1.5, 1.5, 1.5), "features": (16, 32, 64)}
CLASSES = 4
STEPS = 40
PREPARE = ("crop", "normalise", "resample")


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


def main() -> None:
    import nibabel

    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = {"background": 0} | {f"tissue {index}": index for index in range(1, CLASSES)}
        results = nnunet_folder.write_folder(
            folder / "nnUNetTrainer__nnUNetPlans__3d_fullres",
            nnunet_folder.plans(**PLAN),
            nnunet_folder.dataset(labels=labels),
            steps=STEPS,
        )
        msdk_rt.export(results, folder / "model.onnx")
        voxels, affine = nnunet_folder.head(0, SHAPE, SPACING, margin=4)
        (source,) = nnunet_folder.write_case(folder / "imagesTs", "head", voxels, affine)
        for mirror in (False, True):
            contestants = {
                "msdk_rt": ours(folder / "model.onnx", mirror),
                "nnUNetPredictor": theirs(results, mirror),
            }
            seconds, found = {}, {}
            for contestant, run in contestants.items():
                target = folder / f"{contestant}.nii.gz"
                if not mirror:  # once to warm up
                    run(source, target)
                began = time.perf_counter()
                seconds[contestant] = run(source, target) | {"whole": time.perf_counter() - began}
                found[contestant] = np.asarray(nibabel.load(target).dataobj)
            case = f"MR head {SHAPE}, {'8 views' if mirror else 'no mirroring'}"
            _tell(case, seconds)
            agreement = float(np.mean(found["msdk_rt"] == found["nnUNetPredictor"]))
            print(f"  labels alike: {agreement:.6%}\n")
            record("nnunet", case, _figures(seconds) | {"labels alike, %": 100 * agreement}, "s")
            if agreement < LEAST_AGREEMENT:
                raise SystemExit(f"below {LEAST_AGREEMENT:.2%} of labels alike")


def _tell(case: str, seconds: dict[str, dict[str, float]]) -> None:
    mine, other = seconds["msdk_rt"], seconds["nnUNetPredictor"]
    print(f"  {case}, {THREADS} threads\n  {'stage':<10}{'msdk_rt':>10}{'nnU-Net':>10}{'ratio':>8}")
    for stage, own in mine.items():
        print(f"  {stage:<10}{own:>8.2f} s{other[stage]:>8.2f} s{other[stage] / own:>8.1f}")


def _figures(seconds: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        f"{contestant}, {stage}": value
        for contestant, stages in seconds.items()
        for stage, value in stages.items()
    }


if __name__ == "__main__":
    main()
