"""U-Mamba's networks with the published Mamba block, under nnU-Net's predictor: folder in, labels out.

Their weights are drawn at random, since the stand-in of the Mamba block scans token by token: such a network
is in doubt in many voxels.
"""

import copy

import numpy as np
import pytest
import torch

import msdk_rt
from tests.support import nnunet_folder as made
from tests.support.nnunet_models import Image, explained_differences, nnunet_labels, write_image
from tests.support.published import gpu
from tests.support.published.umamba import PublishedUMambaBot, PublishedUMambaEnc
from tests.support.published_blocks import randomised

KERNELS = {"conv_op": torch.nn.Conv3d, "norm_op": torch.nn.InstanceNorm3d, "nonlin": torch.nn.LeakyReLU}


def published(kind):
    def build(channels, classes, configuration):
        arguments = copy.deepcopy(configuration["architecture"]["arch_kwargs"]) | KERNELS
        size = {"input_size": configuration["patch_size"]} if kind is PublishedUMambaEnc else {}
        return randomised(kind(input_channels=channels, num_classes=classes, **size, **arguments), seed=2)

    return build


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("trainer", "kind"),
    [("nnUNetTrainerUMambaBot", PublishedUMambaBot), ("nnUNetTrainerUMambaEnc", PublishedUMambaEnc)],
)
def test_labels_are_those_of_the_published_network(trainer, kind, tmp_path):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plan, data = made.plans(patch=(8, 16, 16), features=(8, 12, 20)), made.dataset()
    arguments = plan["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arguments |= {"n_conv_per_stage": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2]}
    folder = tmp_path / f"{trainer}__nnUNetPlans__3d_fullres"
    with gpu.present():
        made.write_folder(folder, plan, data, trainer=trainer, network=published(kind), steps=0)
    weights = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)["network_weights"]
    paths = write_image(tmp_path, Image("mr", (16, 15, 9), (1.0, 1.0, 1.3)), "case", seed=3)
    manager = PlansManager(plan)
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    configuration = manager.get_configuration("3d_fullres")
    network = published(kind)(1, 3, configuration.configuration)
    predictor.manual_initialization(network, manager, configuration, [weights], data, trainer, None)
    with gpu.present():
        expected, maps = nnunet_labels(predictor, paths, probabilities=True)

    manifest = msdk_rt.export(folder, tmp_path / "model.onnx")
    segmenter = msdk_rt.Segmenter(tmp_path / "model.onnx", mirror_axes=(), threads=1)
    result = segmenter.run(paths, return_probabilities=True)

    differing = explained_differences(result, expected, paths)
    error = np.abs(result.probabilities - maps.transpose(0, 3, 2, 1))
    print(f"{trainer}: {differing} of {expected.size} voxels differ, probabilities by {np.median(error):.1e}")
    assert differing <= 0.01 * expected.size
    assert np.median(error) < 1e-3
    assert len(np.unique(expected)) > 1
    assert f"Published{manifest.family}" == kind.__name__


def test_own_trainers_network_is_taken_from_its_module(tmp_path):
    """The published module itself, with its own Mamba blocks, as network=."""
    plan, data = made.plans(patch=(8, 16, 16), features=(8, 12)), made.dataset()
    folder = tmp_path / "nnUNetTrainerMine__nnUNetPlans__3d_fullres"
    build = published(PublishedUMambaBot)
    with gpu.present():
        made.write_folder(
            folder, plan, data, trainer="nnUNetTrainerMine", network=build, steps=1, folds=(0, 1)
        )
    module = build(1, 3, plan["configurations"]["3d_fullres"])

    manifest = msdk_rt.export(folder, tmp_path / "own.onnx", network=module)

    assert manifest.parity["compared_with"] == "the module as it was given"
    assert (manifest.config["folds"], manifest.folds) == ([0, 1], 2)
    assert manifest.parity["random"]["relative_error"] < 1e-5
    volume = made.head(5, (12, 16, 16))[0].transpose(0, 3, 2, 1)
    other = msdk_rt.export(folder, tmp_path / "one.onnx", network=module, folds=1)
    both, one = (
        msdk_rt.Segmenter(path, mirror_axes=()).run(volume, spacing=(1, 1, 1), return_probabilities=True)
        for path in (tmp_path / "own.onnx", tmp_path / "one.onnx")
    )
    assert (other.config["folds"], other.folds) == ([1], None)
    assert np.abs(both.probabilities - one.probabilities).max() > 1e-3
