"""The parts of `make verify-tensorrt` and of gpu-check's networks that need neither TensorRT nor a GPU."""

import itertools
import subprocess
import sys
import threading
from argparse import ArgumentParser, Namespace
from types import SimpleNamespace

import nibabel
import numpy as np
import onnx
import pytest
import torch

import msdk_rt
from msdk_export import save_checkpoint
from msdk_export.models import MSDKMamba, MSDKMambaConfig
from tests.gpu import (
    memory,
    network_benchmark,
    network_files,
    network_steps,
    rtx_checks,
    segmenter_checks,
    trtexec,
    verify_tensorrt,
)
from tests.gpu.pytorch_peer import PyTorchSegmenter
from tests.gpu.report import Report, Skip
from tests.support.around_ops import cut, standard_ops
from tests.support.small_model import describe, write_artifact

MB = 1 << 20


@pytest.fixture
def segmenter(artifact):
    with msdk_rt.Segmenter(artifact, batch_size=2) as opened:
        yield opened


def test_a_leak_is_seen_and_its_absence_too():
    kept = []
    with pytest.raises(AssertionError, match=r"host memory grew by \d+ bytes over 90 runs"):
        memory.check_flat(lambda _: kept.append(bytearray(b"x") * MB), 120, {"host": memory.resident})
    kept.clear()
    memory.check_flat(lambda _: bytearray(b"x") * MB, 120, {"host": memory.resident})


def test_growth_while_caches_fill_is_no_leak():
    counter = itertools.count()
    readings = iter([*range(5), *[5] * 1000])
    memory.check_flat(lambda _: next(counter), 100, {"device": lambda: 100 * MB + next(readings)})
    assert next(counter) == 100


def test_a_peak_is_what_was_held_in_between():
    def hold():
        block = bytearray(b"x") * (64 * MB)
        threading.Event().wait(0.1)
        del block

    assert 60 * MB < memory.peak_of(hold, memory.resident) < 200 * MB


def test_the_checks_of_a_segmenter_pass_on_onnxruntime(segmenter, artifact):
    assert "bit for bit" in segmenter_checks.check_threads(segmenter)
    assert "100 runs" in segmenter_checks.check_growth(segmenter, 2, 150, {"host": memory.resident})
    assert segmenter_checks.check_refusals(artifact).startswith("refused: a flipped bit")


def test_threads_that_disturb_one_another_are_seen(segmenter):
    main = threading.get_ident()

    def run(volume, return_probabilities):
        found = segmenter.run(volume, return_probabilities=return_probabilities)
        if threading.get_ident() != main:
            found.probabilities[0, 0, 0, 0] += 1e-6
        return found

    disturbed = SimpleNamespace(manifest=segmenter.manifest, count_windows=segmenter.count_windows, run=run)
    with pytest.raises(AssertionError, match=r"thread \d, round 0"):
        segmenter_checks.check_threads(disturbed)


def test_what_is_not_refused_fails_the_check(artifact):
    with pytest.raises(AssertionError, match="it was not refused"):
        segmenter_checks.refused(artifact, lambda copy: None, msdk_rt.MsdkError, "anything")


def test_labels_that_differ_and_a_reference_of_one_label_fail():
    expected = np.arange(1000) % 2
    found = expected.copy()
    found[:2] = 7
    assert segmenter_checks.check_agreement(found, expected, 0.998) == "2 of 1000 voxels labelled otherwise"
    with pytest.raises(AssertionError, match=r"99\.8000% alike, at least 99\.90%"):
        segmenter_checks.check_agreement(found, expected, 0.999)
    with pytest.raises(AssertionError, match="one label only"):
        segmenter_checks.check_agreement(expected * 0, expected * 0, 0.999)


def test_an_engine_of_another_tensorrt_is_refused_by_the_runtime_that_is_here(tmp_path, import_tensorrt):
    lean = pytest.importorskip("tensorrt_lean_bindings")
    import_tensorrt(lean)
    path = tmp_path / "model.engine"
    path.write_bytes(bytes(1000))
    entry = {"tensorrt": lean.__version__, "compute_capability": "0.1", "plugin_version": "1", "max_batch": 2}
    describe(path, engine=entry | {"version_compatible": False, "hardware_compatible": False})
    said = segmenter_checks.check_other_version(path)
    assert said.startswith(f"the engine needs TensorRT exactly 9.9.9.9, this is {lean.__version__}")
    assert "a cut end" in segmenter_checks.check_refusals(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small network of random weights."""
    torch.manual_seed(63)
    network = MSDKMamba(MSDKMambaConfig(in_channels=1, num_classes=3, dims=(8, 16), depths=(1, 1)))
    description = {"window": (16, 16, 16), "channels": ["t1"], "labels": {"none": 0, "one": 1, "four": 4}}
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, network, description)
    return path


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    rng = np.random.default_rng(64)
    path = tmp_path_factory.mktemp("scan") / "t1.nii.gz"
    nibabel.save(nibabel.Nifti1Image(rng.gamma(2, 100, (21, 18, 25)).astype(np.float32), np.eye(4)), path)
    return path


def test_without_tensorrt_all_else_is_verified_and_the_exit_says_what_is_missing(
    checkpoint, scan, tmp_path, capsys, import_tensorrt
):
    import_tensorrt(None)
    words = ["--checkpoint", checkpoint, "--scan", scan, "--work", tmp_path, "--windows", 20]
    assert verify_tensorrt.main([*map(str, words)]) == verify_tensorrt.NOTHING_TO_RUN_ON
    page = (tmp_path / "report" / "summary.md").read_text()
    assert page.count("| passed |") == 6
    assert "FAILED" not in page
    assert "| everything on TensorRT | skipped |" in page
    assert "pip install tensorrt" in page
    said = capsys.readouterr().out
    assert page in said
    assert f"this was {sys.executable}: run verify_tensorrt.py with the Python that has TensorRT" in said
    model = tmp_path / "model.onnx"
    with network_benchmark.segmenter("ours", model).open() as run:
        volume = nibabel.load(scan).get_fdata(dtype=np.float32)[None]
        halved = PyTorchSegmenter(checkpoint, "cpu", half=True)
        assert "float16" in halved.name
        assert np.mean(halved.run(volume) == run(volume)) > 0.99
    report = Report("TensorRT-RTX")
    assert report.run("build and run", lambda: rtx_checks.check_rtx(model)) or not report.failed
    around = cut(standard_ops(onnx.load(model)))
    feeds = rtx_checks.random_feeds(around)
    outputs = rtx_checks.on_cpu(around, feeds)
    assert len(outputs) == len(around.graph.output)
    assert all(np.isfinite(value).all() for value in outputs.values())


def test_a_step_that_fails_makes_the_exit_1(tmp_path, scan, capsys, import_tensorrt):
    import_tensorrt(None)
    words = ["--checkpoint", tmp_path / "absent.safetensors", "--scan", scan, "--work", tmp_path]
    assert verify_tensorrt.main([*map(str, words)]) == 1
    assert "| model.onnx: export | FAILED |" in capsys.readouterr().out


def test_contestants_are_compared_on_a_volume(tmp_path):
    models = {name: write_artifact(tmp_path / f"{name}.onnx") for name in ("first", "second")}
    contestants = [network_benchmark.segmenter(name, path) for name, path in models.items()]
    volume = np.random.default_rng(65).gamma(2, 100, (1, 9, 10, 11)).astype(np.float32)
    first, second = network_benchmark.compare(contestants, volume, memory.resident, 0.2)
    assert (first["contestant"], second["contestant"], second["labels alike"]) == ("first", "second", 1.0)
    assert list(first) == ["contestant", "mb", "labels alike", "runs", *network_benchmark.QUANTILES]
    assert first["p50_ms"] > 0
    scan = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume[0], np.eye(4)), scan)
    windows, parts = network_benchmark.stages(models, scan, None, 1, 0.0)
    assert [row["contestant"] for row in windows] == list(models)
    assert {"read", "normalise", "infer", "label", "write", "whole volume"} <= {row["stage"] for row in parts}


def test_quantiles_that_the_sample_is_too_small_for_are_empty():
    rows = trtexec.rows_of([{"inMs": 1.0, "computeMs": 2.0, "outMs": 0.5, "latencyMs": 3.5}] * 60)
    assert [row["contestant"] for row in rows] == list(trtexec.LATENCIES)
    assert [row["p50_ms"] for row in rows] == pytest.approx([2.0, 3.5])
    assert [row["p90_ms"] for row in rows] == pytest.approx([2.0, 3.5])
    assert [row["p99_ms"] for row in rows] == ["", ""]


def test_trtexec_is_found_on_the_path_or_skipped_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(trtexec, "USUAL", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Skip, match="libnvinfer-bin"):
        trtexec.find_trtexec()
    program = tmp_path / "trtexec"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert trtexec.find_trtexec() == program


def test_a_trtexec_of_another_tensorrt_is_skipped(import_tensorrt):
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for x86-64 Linux")
    import_tensorrt(trt)
    major, minor, patch = trt.__version__.split(".")[:3]
    trtexec.check_version(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{major}{minor:0>2}{patch:0>2}] [b1]")
    with pytest.raises(Skip, match="trtexec is of TensorRT v80601, Python's is v1"):
        trtexec.check_version("&&&& RUNNING TensorRT.trtexec [TensorRT v80601]")


def test_a_file_that_is_missing_says_how_it_is_made(tmp_path):
    parser = ArgumentParser()
    network_files.add_arguments(parser)
    absent = str(tmp_path / "absent")
    arguments = parser.parse_args(["--model", absent, "--half-model", absent])
    with pytest.raises(Skip, match=r"absent is missing: run `make demo`, or name one with --model"):
        network_files.file_of(arguments, "model")
    with pytest.raises(Skip, match=r"msdk-rt export .* --precision fp16"):
        network_files.file_of(arguments, "half_model")


def test_networks_are_skipped_where_there_is_no_cuda_provider(artifact):
    files = dict.fromkeys(("model", "half_model", "scan", "checkpoint"), artifact)
    arguments = Namespace(**files, windows=10, seconds=0.0)
    steps = network_steps.Networks(None, None, arguments, None)
    for step in (steps.labels, steps.threads, steps.growth):
        with pytest.raises(Skip, match="has no CUDA provider: install onnxruntime-gpu"):
            step("float16")
    for step in (steps.stages, steps.volumes):
        with pytest.raises(Skip, match="has no CUDA provider"):
            step()


def test_gpu_check_starts_where_numpy_is_all_there_is():
    absent = ["nibabel", "tqdm", "onnx", "onnxruntime", "torch", "monai", "cuda", "scipy"]
    script = f"""
import sys
sys.modules.update(dict.fromkeys({absent}))
from tests.gpu import check
from tests.gpu.report import Report
report = Report("make gpu-check")
check.networks(None, report, None)
assert report.outcomes[0].state == "skipped", report.outcomes
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "whole networks: skipped: " in done.stdout
