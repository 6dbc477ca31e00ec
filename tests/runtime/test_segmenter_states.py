"""A Segmenter through any order of opening, running, failing and closing, from one thread and several."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from msdk_rt.errors import BackendError, InputError, MsdkError
from msdk_rt.segmenter import Segmenter
from tests.support.small_model import write_artifact

SHAPES = [(8, 6, 7), (1, 1, 1), (3, 20, 2), (13, 9, 11), (9, 6, 15)]
CASES = st.tuples(st.sampled_from(SHAPES), st.integers(0, 3))
OPTIONS = [
    {},
    {"batch_size": 3, "threads": 1},
    {"overlap": 0.25, "blend": "constant"},
    {"mirror_axes": (0, 2), "batch_size": 2},
]


@cache
def volume(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).gamma(2, 100, (1, *shape)).astype(np.float32)


class SegmenterLife(RuleBasedStateMachine):
    """Whatever came before, a run gives what a Segmenter of the same options gives that ran nothing else."""

    @initialize()
    def prepare(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = write_artifact(Path(self.folder.name) / "model.onnx")
        self.segmenter: Segmenter | None = None
        self.is_open = False

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def expected(self, case) -> np.ndarray:
        with Segmenter(self.path, **self.options) as fresh:
            return fresh.run(volume(*case))

    @rule(options=st.sampled_from(OPTIONS))
    def open(self, options):
        self.options = options
        self.segmenter, self.is_open = Segmenter(self.path, **options), True

    @precondition(lambda self: self.segmenter is not None)
    @rule()
    def close(self):
        self.segmenter.close()
        self.is_open = False

    @precondition(lambda self: self.is_open)
    @rule(case=CASES)
    def run(self, case):
        np.testing.assert_array_equal(self.segmenter.run(volume(*case)), self.expected(case))

    @precondition(lambda self: self.is_open)
    @rule(case=CASES)
    def run_a_file(self, case):
        path = Path(self.folder.name) / "scan.nii"
        nibabel.save(nibabel.Nifti1Image(volume(*case)[0], np.eye(4)), path)
        np.testing.assert_array_equal(self.segmenter.run(path).labels, self.expected(case))

    @precondition(lambda self: self.is_open)
    @rule(cases=st.lists(CASES, min_size=2, max_size=4))
    def run_in_threads(self, cases):
        with ThreadPoolExecutor(len(cases)) as pool:
            results = list(pool.map(lambda case: self.segmenter.run(volume(*case)), cases))
        for case, labels in zip(cases, results, strict=True):
            np.testing.assert_array_equal(labels, self.expected(case))

    @precondition(lambda self: self.is_open)
    @rule(cases=st.lists(CASES, min_size=2, max_size=3))
    def close_while_threads_run(self, cases):
        """Each call in progress ends with its result, each later one is refused."""
        with ThreadPoolExecutor(len(cases)) as pool:
            calls = [pool.submit(self.segmenter.run, volume(*case)) for case in cases]
            self.close()
        for case, call in zip(cases, calls, strict=True):
            if call.exception() is None:
                np.testing.assert_array_equal(call.result(), self.expected(case))
            else:
                assert isinstance(call.exception(), BackendError)

    @precondition(lambda self: self.is_open)
    @rule(wrong=st.sampled_from(["channels", "NaN", "rank", "empty", "text"]))
    def run_what_does_not_fit(self, wrong):
        good = volume(SHAPES[0], 0)
        bad = {
            "channels": np.concatenate([good, good]),
            "NaN": np.where(good > good.mean(), np.nan, good),
            "rank": good[0],
            "empty": good[:, :0],
            "text": "nowhere.nii",
        }[wrong]
        with pytest.raises(InputError):
            self.segmenter.run(bad)

    @precondition(lambda self: self.segmenter is not None and not self.is_open)
    @rule(case=CASES)
    def run_after_close(self, case):
        with pytest.raises(BackendError, match="closed: open another"):
            self.segmenter.run(volume(*case))

    @rule()
    def open_what_is_no_model(self):
        with pytest.raises(MsdkError):
            Segmenter(Path(self.folder.name) / "absent.onnx")


def test_any_order_of_calls():
    run_state_machine_as_test(
        SegmenterLife, settings=settings(max_examples=25, stateful_step_count=15, deadline=None)
    )
