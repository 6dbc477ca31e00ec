"""The stream of training batches: a pure function of (seed, step, sample in batch), made ahead by threads."""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from msdk_export.training.augmentation import WindowSampler
from msdk_export.training.cases import CasesByIndex
from msdk_export.training.randomness import ORDER, WINDOW, random_state
from msdk_export.training.settings import TrainingSettings

BATCHES_AHEAD = 3

Sample: TypeAlias = tuple[np.ndarray, np.ndarray]


class BatchStream:
    """Batches by step: image (B, C, *window) float32, classes (B, 1, *window) int64.

    Every epoch visits every case once, in its own order. Nothing depends on the number of workers or on the
    step where the stream began. Use as a context manager: leaving it ends the threads.
    """

    def __init__(self, cases: CasesByIndex, settings: TrainingSettings):
        self.cases = cases
        self.settings = settings
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(settings.workers, "samples")

    def __enter__(self) -> "BatchStream":
        _make_single_threaded(self._pool, self.settings.workers)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def batches(self, first: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the steps first, ..., stop - 1."""
        queue: deque[list[Future[Sample]]] = deque()
        for step in range(first, stop + BATCHES_AHEAD):
            if step < stop:
                samples = range(self.settings.batch_size)
                queue.append([self._pool.submit(self.sample, step, sample) for sample in samples])
            if step >= first + BATCHES_AHEAD and queue:
                images, classes = zip(*(future.result() for future in queue.popleft()), strict=True)
                yield torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(classes)).long()

    def sample(self, step: int, sample: int) -> Sample:
        """One sample of a batch: image (C, *window) float32, classes (1, *window) uint8."""
        seed = self.settings.seed
        epoch, position = divmod(step * self.settings.batch_size + sample, len(self.cases))
        order = random_state(seed, ORDER, epoch).permutation(len(self.cases))
        if not hasattr(self._local, "sampler"):
            self._local.sampler = WindowSampler(self.settings)
        case = self.cases[int(order[position])]
        sampler: WindowSampler = self._local.sampler
        return sampler.draw(case, random_state(seed, WINDOW, step, sample))


def _make_single_threaded(pool: ThreadPoolExecutor, workers: int) -> None:
    """Give each worker thread an OpenMP team of one, and leave the caller's as it was.

    PyTorch keeps a thread count for each thread that has asked for it. A worker with its own larger team
    competes with the training step for the cores and makes a sample cost ten times as much.
    """
    threads = torch.get_num_threads()
    together = threading.Barrier(workers)

    def limit() -> None:
        together.wait()
        torch.get_num_threads()
        torch.set_num_threads(1)

    for done in [pool.submit(limit) for _ in range(workers)]:
        done.result()
    torch.set_num_threads(threads)
