"""`python -m tests.release.windows`: the Windows wheel's ops in Windows' own ONNX Runtime, under Wine.

Needs wine64 (Debian), dist/ from `make wheels`, and pip for ONNX Runtime's Windows wheel. A small MSD-KMamba
runs once in a program of ours, which Zig compiles; its logits are compared with those of this checkout.

exit codes: 0 the same within LIMIT, 1 not, 2 something is missing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime

from msdk_rt.backends.libraries import ops_library
from tests.release.contents import best_kernels
from tests.release.wheels import DIST, ROOT, TOOLS, run
from tests.test_wheel import export_model

LIMIT = 1e-5  # of the largest logit
SHAPE = (1, 1, 16, 12, 8)
WINE = shutil.which("wine64") or shutil.which("wine") or "/usr/lib/wine/wine64"


def main() -> int:
    wheels = sorted(DIST.glob("msdk_rt-*-win_amd64.whl"))
    if not wheels or not Path(WINE).exists():
        print("needs a Windows wheel in dist/ (make wheels) and wine64", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = export_model(folder / "model.onnx")
        window = np.random.default_rng(0).standard_normal(SHAPE, np.float32)
        window.tofile(folder / "input.bin")
        found, expected = under_wine(wheels[-1], model, folder), here(model, window)
    error = float(np.abs(found - expected.ravel()).max() / np.abs(expected).max())
    print(f"{wheels[-1].name} under Wine: {error:.1e} of the largest logit away from this machine's library")
    return int(error > LIMIT)


def here(model: Path, window: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("msdk.cpu_ops", "1")
    options.register_custom_ops_library(str(ops_library()))
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: window})[0]


def under_wine(wheel: Path, model: Path, folder: Path) -> np.ndarray:
    """Logits of the model for input.bin, flat."""
    with zipfile.ZipFile(wheel) as archive:
        ops = archive.extract("msdk_rt/lib/libmsdk_onnxruntime.dll", folder)
    program, output = compiled(folder), folder / "output.bin"
    command = [WINE, program, windows_onnxruntime(folder), ops, model, folder / "input.bin", output, *SHAPE]
    environment = {"WINEPREFIX": str(folder / "wine"), "WINEDEBUG": "-all"}
    kernels = subprocess.run(
        [str(word) for word in command],
        env=os.environ | environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()
    if kernels != best_kernels():
        raise SystemExit(f"runs on the kernels {kernels}, this processor has {best_kernels()}")
    return np.fromfile(output, np.float32)


def compiled(folder: Path) -> Path:
    """session.cpp as a Windows program."""
    cache = (ROOT / "build" / "plugins" / "CMakeCache.txt").read_text(encoding="utf-8")
    headers = next(line for line in cache.splitlines() if line.startswith("MSDK_ORT_HEADERS")).split("=", 1)[
        1
    ]
    program = folder / "session.exe"
    zig = [TOOLS / "python", "-m", "ziglang", "c++", "-target", "x86_64-windows-gnu", "-std=c++17", "-O2"]
    run(
        *zig, "-fno-sanitize=all", "-isystem", headers, Path(__file__).with_name("session.cpp"), "-o", program
    )
    return program


def windows_onnxruntime(folder: Path) -> Path:
    """onnxruntime.dll of the version that runs here."""
    wanted = f"onnxruntime=={onnxruntime.__version__}"
    platform = ["--platform", "win_amd64", "--python-version", "3.11", "--only-binary=:all:"]
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *platform, "--dest", folder, wanted)
    with zipfile.ZipFile(next(folder.glob("onnxruntime-*.whl"))) as archive:
        for name in archive.namelist():
            if name.startswith("onnxruntime/capi/") and name.endswith(".dll"):
                archive.extract(name, folder)
    return folder / "onnxruntime" / "capi" / "onnxruntime.dll"


if __name__ == "__main__":
    sys.exit(main())
