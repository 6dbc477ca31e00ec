"""libFuzzer with AddressSanitizer and UBSan on all C++ that reads what others wrote: the parser of
`directions`, the ONNX Runtime ops (attributes, shapes, absent inputs; CPU kernels and emulated CUDA
kernels), the fields of the TensorRT plugins and plans, and their methods on any shapes, types and formats.
No report; and wherever an input is accepted, an output whose every element is written.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.reliability.report import Row

FOUND = (
    "Sizes near 2^63 overflowed in the workspace of the CUDA scan and in the number of blocks of every CUDA "
    "launch: products of sizes now end at the largest number, which is refused.",
    "getWorkspaceSize of the TensorRT plugins read sizes of tensors whose rank it had not checked.",
    "The TensorRT plugin refused a scan of 2^31 tokens or more only when it ran: now when it is built.",
    "The ONNX Runtime ops dereferenced a required input that was absent.",
)
ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
# Each one's share of the time.
TARGETS = {"directions": 1, "tensorrt_fields": 2, "onnxruntime": 4, "tensorrt_shapes": 3}
SECONDS = 600


def main(quick: bool = False) -> list[Row]:
    if not shutil.which("clang++"):
        sys.exit("fuzzing needs Clang and its libFuzzer: on Debian, apt install clang libclang-rt-14-dev")
    build()
    unit = (20 if quick else SECONDS) / sum(TARGETS.values())
    return [fuzz(target, round(share * unit)) for target, share in TARGETS.items()]


def build() -> None:
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++"]
    options += ["-DMSDK_CUDA=OFF", "-DMSDK_TESTS=ON", "-DMSDK_FUZZ=ON"]
    options.append("-DMSDK_SANITIZE=fuzzer-no-link,address,undefined")
    subprocess.run(["cmake", "-S", ROOT / "plugins", "-B", BUILD, *options], check=True)
    targets = [f"fuzz_{target}" for target in TARGETS]
    jobs = os.environ.get("JOBS", "2")
    subprocess.run(["cmake", "--build", BUILD, "--parallel", jobs, "--target", *targets], check=True)


def fuzz(target: str, seconds: int) -> Row:
    """Findings stay beside the corpus, from which the next run starts."""
    corpus = BUILD / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    command = [BUILD / "tests" / "fuzz" / f"fuzz_{target}", f"-max_total_time={seconds}", "-max_len=128"]
    command += ["-len_control=0", "-print_final_stats=1", f"-artifact_prefix={BUILD}/{target}-", corpus]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr[-5000:])
    inputs = re.search(r"number_of_executed_units: *(\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    outcome = f"{edges[-1] if edges else 0} edges of the code reached in {seconds} s"
    return Row(f"inputs of {target}", int(inputs[1]) if inputs else 0, int(done.returncode != 0), outcome)
