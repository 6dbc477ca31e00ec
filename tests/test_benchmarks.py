"""The benchmarks' peers compute what the ops compute, and what is measured is kept."""

import csv
import importlib.util

import numpy as np
import pytest

from benchmarks import conv_op, cpu_ops, kan_op, measure, openvino_peer
from benchmarks.__main__ import QUESTIONS
from tests.support.cases import ConvCase, KanCase, ScanCase
from tests.support.nodes import run_node, session

BOTH = {"directions": "forward,backward"}
SCAN = ScanCase(1, 2, 5, 37, 3, 2, "forward,backward", True, 1.0, seed=0, extreme=False).inputs()
CONV = ConvCase(1, 2, 5, 37, 4, "forward,backward", seed=0).inputs()
KAN = KanCase(1, 7, 7, 37, kan_op.BASES, -1.0, 1.0, seed=0).inputs()


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "graph"),
    [
        ("BidirectionalSelectiveScan", SCAN, BOTH, openvino_peer.stepwise_scan(SCAN)),
        ("DirectionalConv1d", CONV, BOTH, conv_op.grouped_conv(CONV)),
        ("KanLinear", KAN, {}, kan_op.materialised(7, 37)),
    ],
)
def test_a_peer_in_standard_ops_agrees_with_the_op(op, inputs, attributes, graph):
    found = session(graph, library=False).run(None, inputs)[0]
    np.testing.assert_allclose(found, run_node(op, inputs, **attributes), rtol=1e-4, atol=1e-5)


def test_pytorch_agrees_with_the_convolution():
    expected = run_node("DirectionalConv1d", CONV, **BOTH)
    np.testing.assert_allclose(conv_op.pytorch(CONV).run(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "case",
    [
        cpu_ops.convolution(3, 5, 6),
        cpu_ops.convolution(2, 3, 8, kernel=7, stride=2),
        cpu_ops.convolution(4, 4, 5, group=4),
        cpu_ops.transposed(4, 3, 5),
        cpu_ops.upsampling(2, 3),
        cpu_ops.norm(5, 33),
    ],
    ids=lambda case: case.name,
)
def test_peers_of_the_cpu_ops_agree_with_them(case):
    ours, *peers = (contestant.run() for contestant in cpu_ops.contestants_of(case))
    for peer in peers:
        np.testing.assert_allclose(peer, ours, rtol=0, atol=cpu_ops.AGREEMENT * np.abs(ours).max())


def test_contestants_are_timed_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    contestants = [measure.Contestant(name, lambda: None, threads=1) for name in ("ours", "theirs")]
    medians = measure.measure("question", "case", contestants, work=2.0, unit="GB", seconds=0.0)
    rows = list(csv.DictReader((tmp_path / "question.csv").open()))
    assert [row["contestant"] for row in rows] == ["ours", "theirs"]
    assert [int(row["runs"]) for row in rows] == [3, 3]
    assert float(rows[0]["p50_ms"]) == pytest.approx(1e3 * medians["ours"], rel=1e-4)
    assert "GB/s/thread" in capsys.readouterr().out


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_has_a_module(question):
    assert importlib.util.find_spec(f"benchmarks.{question}")
