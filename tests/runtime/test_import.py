"""The cost of importing the package, measured in a fresh interpreter."""

import json
import subprocess
import sys

import pytest

import msdk_rt

SLIM = ["torch", "onnx", "onnxruntime", "msdk_export", "numpy", "nibabel", "matplotlib", "tqdm"]


def in_a_fresh_process(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_import_is_quick_and_slim():
    code = (
        "import json, sys, time\n"
        "start = time.perf_counter()\n"
        "import msdk_rt\n"
        "seconds = time.perf_counter() - start\n"
        f"print(json.dumps([seconds, [name for name in {SLIM} if name in sys.modules]]))"
    )
    fastest = min(in_a_fresh_process(code)[0] for _ in range(3))
    print(f"import msdk_rt: {fastest * 1000:.0f} ms")
    assert fastest < 0.3
    assert in_a_fresh_process(code)[1] == []


def test_segmenting_imports_neither_torch_nor_onnx_nor_ray(artifact):
    code = (
        "import json, sys\n"
        "import numpy, msdk_rt, msdk_rt.commands.main\n"
        f"msdk_rt.Segmenter({str(artifact)!r}).run(numpy.ones((1, 9, 9, 9)))\n"
        "import msdk_rt.commands.batch\n"
        "heavy = {'torch', 'onnx', 'msdk_export', 'onnxruntime', 'ray'}\n"
        "print(json.dumps(sorted(heavy & sys.modules.keys())))"
    )
    assert in_a_fresh_process(code) == ["onnxruntime"]


def test_every_public_name_loads():
    for name in msdk_rt.__all__:
        assert getattr(msdk_rt, name).__doc__
    assert set(msdk_rt.__all__) <= set(dir(msdk_rt))
    errors = [kind for kind in vars(msdk_rt.errors).values() if isinstance(kind, type)]
    assert {kind.__name__ for kind in errors} <= set(msdk_rt.__all__)  # else nobody can catch it
    assert all(issubclass(kind, msdk_rt.MsdkError) for kind in errors)
    assert msdk_rt.__version__


@pytest.mark.parametrize(
    ("absent", "said", "remedy"),
    [
        ("torch", "torch is not installed", "pip install 'msdk_rt[export]'"),
        ("onnxruntime", "ONNX Runtime cannot be imported", "pip install 'msdk_rt[cpu]'"),
    ],
)
def test_export_says_what_to_install(absent, said, remedy):
    code = (
        "import json, sys\n"
        f"sys.modules[{absent!r}] = None\n"
        "import msdk_rt\n"
        "try:\n"
        "    msdk_rt.export\n"
        "except msdk_rt.BackendError as error:\n"
        "    print(json.dumps(str(error)))\n"
    )
    message = in_a_fresh_process(code)
    assert said in message
    assert remedy in message
