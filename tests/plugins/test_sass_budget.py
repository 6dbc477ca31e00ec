"""The hot kernels take no more instructions and resources than benchmarks/sass_budget.json allows."""

import json
import shutil
from dataclasses import replace
from functools import cache

import pytest

from benchmarks.sass import BUDGET, ROOT, kernels_of, over_budget
from benchmarks.sass_kernels import KERNELS
from benchmarks.sass_model import GPUS, counted, undescribed
from benchmarks.sass_tools import ToolMissing, Tools

EX2 = "ex2.approx.ftz.f32 %0, %1;"


@cache
def tools():
    try:
        return Tools.found()
    except ToolMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def budget():
    budget = json.loads(BUDGET.read_text())
    if tools().release != budget["nvcc"]:
        pytest.skip(f"the budget is that of nvcc {budget['nvcc']}, got {tools().release}; make cuda-table")
    return budget


@cache
def counts_of(architecture, root=ROOT):
    kernels = kernels_of(tools(), architecture, root)
    return [counted(shape, kernels, architecture) for shape in KERNELS], undescribed(kernels, KERNELS)


@pytest.mark.parametrize("architecture", GPUS)
def test_no_hot_kernel_grew(architecture, budget):
    counts, not_described = counts_of(architecture)
    assert over_budget(counts, budget) == []
    assert not_described == []


def test_an_instruction_more_in_every_update_is_noticed(budget, tmp_path):
    for folder in ("cuda", "ops"):
        shutil.copytree(ROOT / "plugins" / folder, tmp_path / "plugins" / folder)
    math = tmp_path / "plugins" / "cuda" / "math.cuh"
    assert math.read_text().count(EX2) == 1
    math.write_text(math.read_text().replace(EX2, f"{EX2} mul.f32 %0, %0, 0f3F800001;"))
    counts, _ = counts_of(90, tmp_path)
    faults = over_budget(counts, budget)
    grown = [count.kernel.name for count in counts if count.shape.unit == "an update"]
    assert grown
    for name in grown:
        assert any(
            fault.startswith(f"{name} on sm_90: at most") and "instructions" in fault for fault in faults
        )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"registers": 255}, "registers"),
        ({"shared": 48 << 10}, "shared memory"),
        ({"local": 64}, "local memory"),
    ],
)
def test_a_resource_that_grew_is_noticed(change, what, budget):
    first, *others = counts_of(90)[0]
    faults = over_budget([replace(first, kernel=replace(first.kernel, **change)), *others], budget)
    assert len(faults) == 1
    assert what in faults[0]


def test_a_kernel_that_the_budget_does_not_have_is_noticed(budget):
    counts = counts_of(90)[0]
    name = counts[0].kernel.name
    faults = over_budget(counts, {"kernels": {k: v for k, v in budget["kernels"].items() if k != name}})
    assert faults
    assert all(name in fault and "make cuda-table" in fault for fault in faults)
