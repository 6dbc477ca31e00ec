"""msdk-rt bench: report, page, command."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import nibabel
import numpy as np
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

import msdk_rt
from msdk_rt.backends import processors
from msdk_rt.bench.machine import EnergyMeter
from msdk_rt.bench.page import page
from msdk_rt.bench.profile import profile
from msdk_rt.bench.svg import Scale
from msdk_rt.commands.main import main
from msdk_rt.errors import InputError
from msdk_rt.segmenter import Segmenter
from tests.support.small_model import WINDOW, write_artifact

QUICK = {"seconds": 0.0, "warm_up": 0.0, "limit": 0.0, "shape": (9, 10, 11)}


@pytest.fixture
def artifact(tmp_path):
    return write_artifact(tmp_path / "small.onnx")


def test_energy_is_read_and_wraps(tmp_path):
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (package / "max_energy_range_uj").write_text("999999\n")
    (package / "energy_uj").write_text("900000\n")
    meter = EnergyMeter(tmp_path)
    (package / "energy_uj").write_text("100000\n")
    assert meter.joules() == pytest.approx(0.2)
    assert EnergyMeter(tmp_path / "none").joules() is None
    assert "no RAPL" in EnergyMeter(tmp_path / "none").problem


def test_the_profile_counts_operations_and_nodes(artifact):
    windows = np.zeros((2, 1, *WINDOW), np.float32)
    costs = {cost.op: cost for cost in profile(artifact, ["CPUExecutionProvider"], 1, windows)}
    (cost,) = costs.values()  # ONNX Runtime fuses the two nodes
    voxels = 2 * np.prod(WINDOW)
    assert cost.op == "FusedConv"
    assert cost.nodes == 1
    assert cost.flops == 2 * voxels * 2 * 27
    assert cost.bytes == 4 * (voxels + 2 * voxels + 2 * 27 + 2)


@pytest.mark.parametrize("bias", ["", ", bias"])
def test_a_weight_that_onnxruntime_has_packed(bias, tmp_path):
    model = onnx.parser.parse_model(f"""<ir_version: 10, opset_import: ["": 20]>
        transposed (float[B,2,3,3,3] image) => (float[B,3,6,6,6] logits)
        <float[2,3,2,2,2] weight = {{{", ".join(["1"] * 48)}}}, float[3] bias = {{1, 2, 3}}>
        {{ logits = ConvTranspose <strides = [2, 2, 2]> (image, weight{bias}) }}""")
    path = tmp_path / "transposed.onnx"
    path.write_bytes(model.SerializeToString())
    (cost,) = profile(path, ["CPUExecutionProvider"], 1, np.zeros((1, 2, 3, 3, 3), np.float32))
    assert (cost.op, cost.nodes, cost.flops) == ("ConvTranspose", 1, None)


def test_the_report_of_two_models(artifact, tmp_path):
    other = write_artifact(tmp_path / "other.onnx", classes=3)
    steps = []
    report = msdk_rt.benchmark([artifact, other], volumes=2, threads=1, watch=steps.append, **QUICK)
    first, second = report.contestants
    assert [first.name, second.name] == ["small.onnx on CPU", "other.onnx on CPU"]
    assert report.ratio(first) == 1
    assert report.ratio(second) == pytest.approx(second.window.quantile(50) / first.window.quantile(50))
    assert len(first.volumes) == 2
    assert list(first.volume.stages) == ["normalise", "gather", "infer", "blend", "label"]
    assert sum(first.volume.stages.values()) <= first.volume.seconds
    with Segmenter(artifact) as segmenter:
        assert first.volume.windows == segmenter.count_windows((9, 10, 11))
    assert steps[0] == "windows"
    assert not report.interrupted
    assert "other.onnx on CPU" in report.as_text()
    loaded = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert loaded["contestants"][1]["window"]["runs"] == len(loaded["contestants"][1]["window"]["times_ms"])


def test_the_report_says_the_threads_that_were_used(artifact, monkeypatch, recwarn):
    """And the profile's session is opened with them: a number that is too high is told once."""
    monkeypatch.setattr(processors, "usable_processors", lambda: 1)
    report = msdk_rt.benchmark(artifact, threads=100, **QUICK)
    assert report.settings["threads"] == 100
    assert report.contestants[0].threads == 1
    assert report.heading().endswith("threads: 1")
    assert [warned.category for warned in recwarn] == [msdk_rt.InputWarning]


def test_files_are_read_and_written_each_time(artifact, tmp_path):
    array = np.random.default_rng(1).gamma(2, 100, (9, 10, 11)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "t1.nii.gz")
    report = msdk_rt.benchmark(artifact, inputs=[tmp_path / "t1.nii.gz"], **QUICK | {"shape": None})
    stages = list(report.contestants[0].volume.stages)
    assert stages == ["read", "normalise", "gather", "infer", "blend", "label", "write"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (9, 10)}, "three sides"),
        ({"shape": (9, 10, 11), "inputs": ["a.nii"]}, "not both"),
        ({"seconds": -1.0}, "seconds must be .* got -1"),
        ({"limit": float("nan")}, "limit must be"),
        ({"volumes": -1}, "volumes must be a whole number"),
        ({"threads": 0}, "threads must be"),
    ],
)
def test_settings_out_of_range_are_refused(artifact, settings, message):
    with pytest.raises(InputError, match=message):
        msdk_rt.benchmark(artifact, **settings)


def bench(*arguments):
    quick = ["--seconds", "0", "--warm-up", "0", "--limit", "0", "--shape", "9", "10", "11", "--threads", "1"]
    return main(["bench", *map(str, arguments), *quick])


def test_the_command_prints_json_appends_rows_and_writes_a_page(artifact, tmp_path, capsys):
    for _ in range(2):
        assert (
            bench(artifact, "--json", "--quiet", "--csv", tmp_path / "b.csv", "--html", tmp_path / "b.html")
            == 0
        )
        assert json.loads(capsys.readouterr().out)["contestants"][0]["providers"] == ["CPUExecutionProvider"]
    rows = list(csv.DictReader((tmp_path / "b.csv").open()))
    assert [row["model"] for row in rows] == ["small.onnx"] * 2
    assert float(rows[0]["p50_ms"]) > 0
    document = (tmp_path / "b.html").read_text()
    assert re.search(r"(src|href)=|@import|url\(", document) is None
    for drawing in re.findall(r"<svg.*?</svg>", document, re.DOTALL):
        ET.fromstring(drawing)
    assert document.count("<svg") == 3


def test_a_csv_of_something_else_is_left_alone(artifact, tmp_path, capsys):
    (tmp_path / "b.csv").write_text("name,age\nAda,36\n")
    assert bench(artifact, "--quiet", "--csv", tmp_path / "b.csv") == 1
    assert "other columns" in capsys.readouterr().err
    assert (tmp_path / "b.csv").read_text() == "name,age\nAda,36\n"


def test_names_in_a_page_are_escaped(tmp_path):
    artifact = write_artifact(tmp_path / "<b>&.onnx")
    document = page(msdk_rt.benchmark(artifact, volumes=1, **QUICK))
    assert "<b>&.onnx" not in document
    assert "&lt;b&gt;&amp;.onnx" in document


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.booleans())
def test_a_scale_keeps_its_ends_and_its_ticks_inside(low, span, logarithmic):
    low = abs(low) + 1e-3 if logarithmic else low
    scale = Scale(low, low + span, 10, 210, logarithmic)
    assert scale(low) == pytest.approx(10)
    assert scale(low + span) == pytest.approx(210)
    assert all(9.9 <= scale(tick) <= 210.1 for tick in scale.ticks())


def test_an_interrupt_shows_what_was_measured(artifact):
    run = "import sys; from msdk_rt.commands.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", run, "bench", artifact, "--seconds", "60", "--limit", "60"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr.readline() == "msdk-rt: windows\n"
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    assert "small.onnx on CPU" in out
    assert "interrupted: what is here was measured until then" in out
    assert "Traceback" not in err
