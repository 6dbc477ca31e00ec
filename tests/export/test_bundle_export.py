"""`msdk-rt export checkpoint model.msdk`: one file, which runs."""

import dataclasses
import json
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from msdk_export.models import MSDKMamba
from msdk_rt.commands.main import main
from tests.test_wheel import CONFIG, LABELS, write_scan


@pytest.fixture
def command(tmp_path):
    torch.manual_seed(7)
    save_file(MSDKMamba(CONFIG).state_dict(), tmp_path / "weights.safetensors")
    (tmp_path / "licence.txt").write_text("CC0\n")
    return [
        *("export", str(tmp_path / "weights.safetensors"), "--window", "16", "12", "8", "--channels", "t1"),
        *("--labels", *(f"{name}={value}" for name, value in LABELS.items()), "--quiet"),
        *(
            "--config",
            json.dumps(dataclasses.asdict(CONFIG)),
            "--sample",
            str(write_scan(tmp_path / "t1.nii.gz")),
        ),
        *("--license", str(tmp_path / "licence.txt")),
    ]


def test_a_checkpoint_becomes_one_file(command, tmp_path, capsys):
    model, scan = str(tmp_path / "model.msdk"), str(tmp_path / "t1.nii.gz")
    assert main([*command, model]) == 0
    with zipfile.ZipFile(model) as archive:
        assert archive.namelist() == [
            *("model.onnx", "model.onnx.json", "CARD.md", "LICENSE", "sample_0000.nii.gz", "SHA256SUMS")
        ]
    assert main(["info", model]) == 0
    assert "# Model card" in capsys.readouterr().out
    assert main(["run", model, scan, "-o", str(tmp_path / "labels.nii.gz"), "--quiet"]) == 0
    assert not list(tmp_path.glob(".msdk-*"))


def test_a_licence_has_no_place_beside_an_onnx_file(command, tmp_path, capsys):
    assert main([*command, str(tmp_path / "model.onnx")]) == 1
    assert "--card and --license are for a .msdk file" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"\xe9\xff"])
def test_a_card_that_cannot_be_read_is_told_before_the_export(command, tmp_path, capsys, content):
    card = tmp_path / "card.md"
    if content is not None:
        card.write_bytes(content)
    (tmp_path / "weights.safetensors").unlink()  # an export that began would say so
    assert main([*command, str(tmp_path / "model.msdk"), "--card", str(card)]) == 1
    assert f"cannot read {card}" in capsys.readouterr().err
    assert not (tmp_path / "model.msdk").exists()
