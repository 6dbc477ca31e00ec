"""The wheel in a fresh environment without PyTorch and ONNX, as a user on a plain CPU has it."""

import os
import re
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

import msdk_rt
from msdk_export.models import MSDKMamba, MSDKMambaConfig
from tests.release.contents import check_contents

ROOT = Path(__file__).resolve().parents[1]
CONFIG = MSDKMambaConfig(in_channels=1, num_classes=3, dims=(6, 8), depths=(1, 1), d_state=3)
LABELS = {"background": 0, "grey": 2, "white": 5}
ASK_FOR_EXPORT = """
import importlib.util, msdk_rt
print([name for name in ("torch", "onnx", "onnxscript", "safetensors") if importlib.util.find_spec(name)])
try:
    msdk_rt.export
except msdk_rt.BackendError as error:
    print(error)
"""


def test_a_built_wheel_segments_without_pytorch_and_onnx(tmp_path):
    """One test, since building and installing are its whole cost."""
    wheel = build_wheel(tmp_path)
    check_content(wheel)
    programs = install(wheel, tmp_path / "environment")

    model, scan = export_model(tmp_path / "model.onnx"), write_scan(tmp_path / "scan.nii.gz")
    run(programs / "msdk-rt", "run", model, scan, "-o", tmp_path / "labels.nii.gz", "--quiet", cwd=tmp_path)
    found = np.asarray(nibabel.load(tmp_path / "labels.nii.gz").dataobj)
    np.testing.assert_array_equal(found, msdk_rt.Segmenter(model).run(scan).labels)
    assert len(np.unique(found)) > 1

    present, message = run(programs / "python", "-c", ASK_FOR_EXPORT, cwd=tmp_path).splitlines()
    assert present == "[]"
    assert message.endswith("is not installed: pip install 'msdk_rt[export]'")


@pytest.mark.parametrize("options", [[], ["--editable"]], ids=["as a wheel", "editable"])
def test_an_install_whose_compiler_fails_fails(options, tmp_path):
    source = copy_sources(tmp_path)
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    told = subprocess.run(
        [*install, "--target", tmp_path / "site", *options, source],
        env=os.environ | {"CXX": shutil.which("false")},
        capture_output=True,
        text=True,
    )
    assert told.returncode != 0
    assert "the native libraries were not built" in told.stdout + told.stderr
    assert not (tmp_path / "site").exists()


def copy_sources(folder):
    """Nothing that was built before is in them."""
    source = folder / "source"
    for name in ("msdk_rt", "export", "plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("lib", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    return source


def build_wheel(folder):
    source = copy_sources(folder)
    start = time.perf_counter()
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source)
    seconds = time.perf_counter() - start
    (wheel,) = folder.glob("*.whl")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, built in {seconds:.0f} s")
    return wheel


def check_content(wheel):
    assert re.fullmatch(r"msdk_rt-[\w.]+-py3-none-(linux|macosx)_\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert f"msdk_rt/lib/{msdk_rt.ops_library().name}" in names
    assert held(wheel)["ONNX Runtime API headers"]["licenses"] == [{"license": {"id": "MIT"}}]
    for package, folder in (("msdk_rt", ROOT / "msdk_rt"), ("msdk_export", ROOT / "export")):
        modules = {f"{package}/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.py")}
        assert modules == {name for name in names if re.fullmatch(rf"{package}/.*\.py", name)}
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"msdk_rt", "msdk_export"}


def held(wheel):
    """{name: entry of the bill of materials, which agrees with the libraries and the licences}."""
    return {component["name"]: component for component in check_contents(wheel)["components"]}


def install(wheel, folder):
    """The programs of a fresh virtual environment that holds the wheel with its extra [cpu]."""
    start = time.perf_counter()
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    pinned = folder / "versions.txt"  # without the hashes, which our own wheel could not have
    versions = re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements-dev.txt").read_text(), flags=re.MULTILINE)
    pinned.write_text("\n".join(versions))
    requirement = f"msdk_rt[cpu] @ {wheel.as_uri()}"
    run(programs / "python", "-m", "pip", "install", "--quiet", "--constraint", pinned, requirement)
    print(f"installed with its dependencies in {time.perf_counter() - start:.0f} s")
    return programs


def export_model(path):
    torch.manual_seed(7)
    msdk_rt.export(MSDKMamba(CONFIG), path, window=(16, 12, 8), channels=["t1"], labels=LABELS)
    return path


def write_scan(path):
    array = np.random.default_rng(7).gamma(2, 100, (23, 19, 11)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1, 1, 1.2, 1])), path)
    return path


def run(*command, **options):
    """The command's stdout; a failure shows all it said. Nothing of this checkout is importable to it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), env=environment, text=True, capture_output=True, check=False, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
