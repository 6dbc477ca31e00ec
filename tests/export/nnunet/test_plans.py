"""Plans of old and new format, against nnU-Net's own reading of them; trainers and their networks."""

import copy
from pathlib import Path

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

import msdk_rt
from msdk_export.nnunet.labels import labels_of
from msdk_export.nnunet.networks import _PLAIN
from msdk_export.nnunet.plans import architecture_of, configuration_of
from msdk_rt.errors import CheckpointError
from tests.support import nnunet_folder as made
from tests.support.nnunet_models import REGIONS

OLD = {
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 8,
    "unet_max_num_features": 20,
    "n_conv_per_stage_encoder": [1, 2, 2],
    "n_conv_per_stage_decoder": [2, 1],
    "num_pool_per_axis": [2, 2, 2],
    "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
}


def old_plans(name="PlainConvUNet", **fields):
    plans = made.plans(patch=(8, 16, 16), **fields)
    configuration = plans["configurations"]["3d_fullres"]
    del configuration["architecture"]
    configuration.update(OLD | {"UNet_class_name": name})
    statistics = plans.pop("foreground_intensity_properties_per_channel")
    return plans | {"foreground_intensity_properties_by_modality": statistics}


@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_old_plans_are_read_as_nnunet_reads_them(name):
    plans = old_plans(name)
    mine = architecture_of(configuration_of(plans, "3d_fullres", Path("plans.json")))
    with pytest.warns(UserWarning, match="old nnU-Net plans format"):
        theirs = PlansManager(copy.deepcopy(plans)).get_configuration("3d_fullres")
    assert mine.name == theirs.network_arch_class_name
    assert dict(mine.arguments) == theirs.network_arch_init_kwargs
    assert list(mine.imported) == theirs.network_arch_init_kwargs_req_import


@pytest.mark.filterwarnings("ignore:.*old nnU-Net plans format")
def test_a_folder_with_old_plans_is_exported(tmp_path):
    plans = old_plans(schemes=["CTNormalization"])
    data = made.dataset(file_ending=".tif")
    data["modality"] = data.pop("channel_names")
    written = copy.deepcopy(plans)

    def network(channels, classes, configuration):
        manager = PlansManager({"configurations": {"3d_fullres": copy.deepcopy(configuration)}})
        return made.unet(channels, classes, manager.get_configuration("3d_fullres").configuration)

    folder = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    made.write_folder(folder, written, data | {"channel_names": data["modality"]}, network=network, steps=0)
    with pytest.warns(msdk_rt.ExportWarning, match=r"trained on '.tif' files, which are not read here"):
        manifest = msdk_rt.export(folder, tmp_path / "model.onnx")
    assert manifest.file_ending is None
    assert manifest.normalization[0]["scheme"] == "ct"


def test_a_configuration_inherits(tmp_path):
    plans = made.plans()
    plans["configurations"]["3d_small"] = {"inherits_from": "3d_fullres", "patch_size": [8, 8, 8]}
    found = configuration_of(plans, "3d_small", Path("plans.json"))
    assert found == PlansManager(plans).get_configuration("3d_small").configuration
    plans["configurations"]["3d_fullres"]["inherits_from"] = "3d_small"
    with pytest.raises(CheckpointError, match="no configuration '3d_small' that can be read"):
        configuration_of(plans, "3d_small", Path("plans.json"))


def test_residual_encoders_are_exported(tmp_path):
    plans = made.plans(patch=(8, 16, 16))
    entry = plans["configurations"]["3d_fullres"]["architecture"]
    entry["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    entry["arch_kwargs"]["n_blocks_per_stage"] = entry["arch_kwargs"].pop("n_conv_per_stage")
    folder = made.write_folder(tmp_path / "nnUNetTrainer__ResEnc__3d_fullres", plans, made.dataset(), steps=0)
    manifest = msdk_rt.export(folder, tmp_path / "model.onnx")
    assert manifest.family == "ResidualEncoderUNet"
    assert manifest.parity["random"]["relative_error"] < 1e-5


def test_a_trainer_may_take_the_network_of_the_plans(tmp_path):
    folder = made.write_folder(
        tmp_path / "Mine__nnUNetPlans__3d_fullres", made.plans(), made.dataset(), trainer="Mine", steps=0
    )
    assert msdk_rt.export(folder, tmp_path / "model.onnx", network="plans").config["trainer"] == "Mine"
    with pytest.raises(CheckpointError, match="network must be a module or 'plans'"):
        msdk_rt.export(folder, tmp_path / "model.onnx", network="mine")


def test_deep_supervision_of_a_module_is_off(tmp_path):
    """A trainer's module as it was trained, which returns logits at several scales."""
    folder = made.write_folder(
        tmp_path / "Mine__nnUNetPlans__3d_fullres", made.plans(), made.dataset(), trainer="Mine", steps=0
    )
    module = made.unet(1, 3, made.plans()["configurations"]["3d_fullres"])
    module.decoder.deep_supervision = True
    manifest = msdk_rt.export(folder, tmp_path / "model.onnx", network=module)
    assert manifest.parity["random"]["label_agreement"] == 1
    assert module.decoder.deep_supervision


def test_all_of_nnunets_trainers_with_the_plans_network_are_known():
    """By nnU-Net's own sources: those that do not build another network."""
    import ast

    import nnunetv2

    root = Path(nnunetv2.__path__[0]) / "training" / "nnUNetTrainer"
    for path in root.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name.startswith("nnUNetTrainer"):
                builds = any(getattr(part, "name", "") == "build_network_architecture" for part in node.body)
                assert bool(_PLAIN.fullmatch(node.name)) == (not builds or node.name == "nnUNetTrainer")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, {"labels": {"background": 0, "ball": 1, "core": 2}, "activation": "softmax"}),
        (
            {"labels": {"background": 0, "b": 2, "a": 1, "ignore": 3}},
            {"labels": {"background": 0, "a": 1, "b": 2}, "activation": "softmax"},
        ),
        (
            REGIONS,
            {
                "labels": {"whole": 1, "core": 2, "inner": 3},
                "activation": "sigmoid",
                "regions": {"whole": [1, 2, 3], "core": [2, 3], "inner": [3]},
            },
        ),
    ],
)
def test_labels_are_nnunets(data, expected):
    dataset = made.dataset(**data)
    manager = PlansManager(made.plans()).get_label_manager(dataset)
    found = labels_of(dataset)
    assert found == expected
    assert len(found["labels"]) == manager.num_segmentation_heads
    assert (found["activation"] == "sigmoid") == manager.has_regions
