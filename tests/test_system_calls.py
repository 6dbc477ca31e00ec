"""Export, run and bench as the system sees them: they reach for no address and write where they are told."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.support.small_model import write_artifact
from tests.support.system_calls import system_calls

ROOT = Path(__file__).resolve().parents[1]
MAIN = [sys.executable, "-c", "from msdk_rt.commands.main import main; raise SystemExit(main())"]
EXPORT = """
import sys
from pathlib import Path
from tests.reliability.concurrency import export
export(Path(sys.argv[1]))
"""
# Semaphores of Python's multiprocessing, unlinked as soon as they are made.
OF_THE_SYSTEM = ("/dev/null", "/dev/tty", "/proc/self/", "/dev/shm/sem.")
IMPORT = re.compile(r"^\s*(?:import onnxruntime|from onnxruntime)\b", re.MULTILINE)


def environment(folder):
    """Of a user with a home of their own, who says nothing of telemetry."""
    given = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    for name in [name for name in given if name.startswith("XDG_")]:
        del given[name]
    for name in ("home", "temporary"):
        (folder / name).mkdir(exist_ok=True)
    return given | {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "temporary"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def outside(calls, *allowed):
    return sorted(
        str(path)
        for path in calls.written
        if not any(path.is_relative_to(folder) for folder in allowed)
        and not str(path).startswith(OF_THE_SYSTEM)
    )


def assert_quiet(calls, *allowed):
    assert calls.exit_code == 0, calls.stderr
    assert calls.reached == []
    assert outside(calls, *allowed) == []


@pytest.fixture
def scan(tmp_path):
    (tmp_path / "scans").mkdir()
    volume = np.random.default_rng(9).gamma(2, 100, (23, 19, 11)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "scans" / "scan.nii.gz")
    return tmp_path / "scans" / "scan.nii.gz"


def commands(folder, scan):
    (folder / "out").mkdir()
    model = write_artifact(folder / "model.onnx")
    run = [*MAIN, "run", model, scan, "-o", folder / "out" / "labels.nii.gz"]
    page = folder / "out" / "bench.html"
    bench = [*MAIN, "bench", model, "--input", scan, "--seconds", "0.1", "--warm-up", "0", "--html", page]
    return {
        "run": run,
        "run on a folder": [*MAIN, "run", model, scan.parent, "-o", folder / "out" / "cases"],
        "bench": bench,
        "info": [*MAIN, "info", model],
        "export": [sys.executable, "-c", EXPORT, folder / "out" / "exported.onnx"],
    }


@pytest.mark.parametrize("name", ["run", "run on a folder", "bench", "info", "export"])
def test_no_address_and_nothing_written_elsewhere(tmp_path, scan, name):
    folder = tmp_path / "work"
    folder.mkdir()
    given = environment(folder)
    calls = system_calls(commands(folder, scan)[name], tmp_path / "trace", given)
    print(f"{name}: {len(calls.written)} paths written, {len(calls.reached)} addresses reached for")
    assert_quiet(calls, folder / "out", folder / "temporary")
    assert list((folder / "home").iterdir()) == []
    left = [path.name for path in (folder / "temporary").iterdir()]
    assert [name for name in left if not name.startswith("torchinductor_")] == []  # PyTorch's, empty


@pytest.mark.parametrize("imported", ["msdk_rt.backends.onnxruntime", "msdk_export.training.run"])
def test_libraries_that_import_onnx_runtime_find_telemetry_off(tmp_path, imported):
    """MONAI imports ONNX Runtime for its own ends, before us."""
    pytest.importorskip("monai")
    code = f"import importlib; importlib.import_module({imported!r}); import onnxruntime"
    calls = system_calls([sys.executable, "-c", code], tmp_path / "trace", environment(tmp_path))
    assert calls.exit_code == 0, calls.stderr
    assert calls.reached == []
    assert list((tmp_path / "home").rglob(".onnxruntime")) == []


def test_an_address_and_a_file_elsewhere_are_noticed(tmp_path):
    code = (
        "import socket, pathlib\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))\n"
        f"pathlib.Path({str(tmp_path / 'elsewhere')!r}).mkdir()\n"
    )
    calls = system_calls([sys.executable, "-c", code], tmp_path / "trace", environment(tmp_path))
    assert len(calls.reached) == 1
    assert outside(calls, tmp_path / "out") == [str(tmp_path / "elsewhere")]


def test_a_user_who_wants_telemetry_keeps_it(tmp_path):
    code = "import msdk_rt, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, expected in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(tmp_path) | given,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


def test_one_module_imports_onnx_runtime():
    files = [path for folder in ("msdk_rt", "export", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    importing = [str(path.relative_to(ROOT)) for path in files if IMPORT.search(path.read_text())]
    assert importing == ["msdk_rt/backends/onnxruntime.py"]
