"""Train a segmentation network: a dataset folder in, checkpoints for `msdk_rt.export` out.

The output folder:

    best.safetensors   the averaged weights of the validation with the highest mean Dice
    last.safetensors   the averaged weights of the last saved step
    metrics.csv        loss terms and learning rate, Dice and HD95 (mm) of every label at validations
    settings.json      settings and dataset of the run
    state.pt           the state that a resumed run needs

Everything random is a function of (seed, step, sample in batch), so nothing random is carried from step to
step: a run that was killed at any moment and resumed ends with the weights of one that ran through. On a CPU
with the same number of threads they are the same bit for bit; on CUDA some of PyTorch's backward kernels add
in an order that changes (trilinear interpolation is one), so there they agree to rounding.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from msdk_export.checkpoints import build_model, describe_model, load_checkpoint, save_checkpoint
from msdk_export.models import MSDKMamba
from msdk_export.samples import spacing_range
from msdk_export.training.cases import Cases
from msdk_export.training.dataset import Dataset, read_dataset
from msdk_export.training.environment import Stopped, StopRequest, reproducible, torch_device
from msdk_export.training.log import MetricsLog
from msdk_export.training.optimisation import Optimisation, learning_rate
from msdk_export.training.settings import TrainingSettings
from msdk_export.training.state import load_state, save_state
from msdk_export.training.stream import BatchStream
from msdk_export.training.validation import Scores, validate
from msdk_rt.artifact.files import atomic_write, check_writable, remove
from msdk_rt.errors import OutputError, TrainingError

STATE, BEST, LAST, METRICS, SETTINGS = (
    "state.pt",
    "best.safetensors",
    "last.safetensors",
    "metrics.csv",
    "settings.json",
)
_PROGRESS = ("step", "validated_at", "best", "sums", "summed", "rows")
TERMS = ("loss", "fused", "heads", "distillation", "feature")


@dataclass(frozen=True)
class TrainingResult:
    """best, last: checkpoints for msdk_rt.export. dice: the best mean Dice, at best_step of `steps`."""

    best: Path
    last: Path
    dice: float
    best_step: int
    steps: int


def train(
    data: str | Path,
    out: str | Path,
    settings: TrainingSettings | None = None,
    *,
    restart: bool = False,
    progress: bool = False,
) -> TrainingResult:
    """Train on the dataset folder `data` until settings.steps; a run that `out` holds is resumed.

    data: see msdk_export.training.dataset. restart: drop the run that `out` holds. progress: show a bar.
    Ctrl-C and SIGTERM end the step at hand, save, and raise KeyboardInterrupt with a message.
    Raises InputError (dataset, settings, or settings that are not those of the run in `out`), CheckpointError
    (`init`, damaged state), OutputError, and TrainingError when the loss is no longer finite.
    """
    settings = settings or TrainingSettings()
    dataset = read_dataset(data, settings.validation, settings.seed)
    out = Path(out)
    check_writable(out)
    if restart:
        for name in (STATE, BEST, LAST, METRICS, SETTINGS):
            remove(out / name)
    device = torch_device(settings.device)
    with reproducible(device, settings.threads):
        return _Run(dataset, out, settings, device, progress).to_the_end()


class _Run:
    """One run, from the step in its state."""

    def __init__(
        self, dataset: Dataset, out: Path, settings: TrainingSettings, device: torch.device, progress: bool
    ):
        self.dataset, self.out, self.settings, self.device = dataset, out, settings, device
        self.identity = {"settings": settings.deciding(), "dataset": dataset.digest}
        self.optimisation = Optimisation(_network(dataset, settings), settings, device)
        self.stop = StopRequest()
        self.step = 0  # steps done
        self.validated_at = -1
        self.best = {"dice": -1.0, "step": 0}
        self.sums: dict[str, Tensor] = {}
        self.summed = 0
        self.rows = 0  # of the log
        self._resume()
        scored = [f"{score} {label}" for score in ("dice", "hd95") for label in list(dataset.labels)[1:]]
        columns = (*TERMS, "learning rate", "seconds a step", "dice mean", *scored)
        self.log = MetricsLog(out / METRICS, columns, self.rows)
        self._write_settings()
        read = (dataset.channels, dataset.labels, settings.cache, progress)
        self.training = Cases(dataset.training, *read)
        self.spacing = spacing_range([case.images[0] for case in dataset.training])
        self.validation = Cases(dataset.validation, *read)
        self.bar = tqdm(
            total=settings.steps, initial=self.step, unit="step", disable=not progress, dynamic_ncols=True
        )
        self.shown: dict[str, str] = {}

    def to_the_end(self) -> TrainingResult:
        """Train until the last step. Raises KeyboardInterrupt, with everything saved, when asked to stop."""
        settings = self.settings
        try:
            with self.bar, self.stop, BatchStream(self.training, settings) as stream:
                self._validate_if_due()
                watch = time.perf_counter()
                for image, classes in stream.batches(self.step, settings.steps):
                    self._add(self.optimisation.step(self.step, image, classes))
                    self.step += 1
                    self.bar.update()
                    if self._due(settings.log_every):
                        seconds = (time.perf_counter() - watch) / self.summed
                        self._write_row({"seconds a step": seconds})
                        watch = time.perf_counter()
                    if self._due(settings.save_every):
                        self._save()
                    self._validate_if_due()
                    self.stop.check()
        except Stopped as stopped:
            self._save()
            raise KeyboardInterrupt(
                f"stopped at step {self.step} of {settings.steps}, all is saved in {self.out}: the same "
                "command goes on from there"
            ) from stopped
        return TrainingResult(
            self.out / BEST, self.out / LAST, self.best["dice"], int(self.best["step"]), settings.steps
        )

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.steps

    def _add(self, terms: dict[str, Tensor]) -> None:
        self.sums = {name: value + self.sums.get(name, 0) for name, value in terms.items()}
        self.summed += 1

    def _write_row(self, more: dict[str, float]) -> None:
        """Log the means since the last row."""
        means = self._means()
        rate = learning_rate(self.settings, self.step - 1)
        self._write(means | {"learning rate": rate} | more)
        self.sums, self.summed = {}, 0
        self._show({name: f"{value:.4f}" for name, value in means.items()} | {"lr": f"{rate:.2g}"})

    def _write(self, values: dict[str, float]) -> None:
        self.log.write(self.step, values)
        self.rows += 1

    def _means(self) -> dict[str, float]:
        """Of the loss terms since the last row. Raises TrainingError when the run has diverged."""
        means = {name: float(value) / self.summed for name, value in self.sums.items()}
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad and not self.optimisation.recovers:
            raise TrainingError(
                f"the loss is not finite before step {self.step} ({', '.join(bad)}): restart with a lower "
                f"learning rate than {self.settings.learning_rate}, or without mixed precision"
            )
        return means

    def _validate_if_due(self) -> None:
        """Validate and save, unless that was done at this step.

        Before the first step it is one case without overlap, which shows early whether the dataset can be
        validated at all; it is no candidate for the best.
        """
        if self.validated_at == self.step or not self._due(self.settings.validate_every):
            return
        early = self.step == 0
        self.bar.set_description("validation")
        scores = validate(
            self._predict,
            (self.validation[index] for index in range(1 if early else len(self.validation))),
            self.dataset.labels,
            self.settings.window,
            0.0 if early else self.settings.overlap,
            self.device,
        )
        if not early:
            self._write(_row(scores))
            if scores.mean_dice > self.best["dice"]:
                self.best = {"dice": scores.mean_dice, "step": self.step}
                self._save_checkpoint(BEST)
            self._show({"dice": f"{scores.mean_dice:.4f}"})
        self.bar.set_description("training")
        self.validated_at = self.step
        self._save()

    def _predict(self, windows: Tensor) -> Tensor:
        self.stop.check()
        return self.optimisation.predict(windows)

    def _show(self, values: dict[str, str]) -> None:
        self.shown |= values
        self.bar.set_postfix(self.shown, refresh=False)

    def _save(self) -> None:
        self._means()
        self._save_checkpoint(LAST)
        state = {name: getattr(self, name) for name in _PROGRESS}
        save_state(self.out / STATE, state | {"optimisation": self.optimisation.state_dict()}, self.identity)

    def _resume(self) -> None:
        if not (self.out / STATE).is_file():
            if (self.out / BEST).is_file():
                raise OutputError(
                    f"{self.out} holds {BEST} without the {STATE} of its run: choose another folder, or "
                    "replace it with --restart"
                )
            return
        state = load_state(self.out / STATE, self.identity)
        self.optimisation.load_state_dict(state.pop("optimisation"))
        for name, value in state.items():
            setattr(self, name, value)
        self.sums = {name: value.to(self.device) for name, value in self.sums.items()}

    def _save_checkpoint(self, name: str) -> None:
        description = {
            "window": list(self.settings.window),
            "channels": list(self.dataset.channels),
            "labels": self.dataset.labels,
            "activation": "softmax",
            "normalization": "nonzero_zscore",
            "spacing": self.spacing,
        }
        save_checkpoint(self.out / name, self.optimisation.averaged, description)

    def _write_settings(self) -> None:
        names = {
            split: [case.name for case in getattr(self.dataset, split)]
            for split in ("training", "validation")
        }
        content = self.identity | names | {"labels": self.dataset.labels, "channels": self.dataset.channels}
        with atomic_write(self.out / SETTINGS, "w") as file:
            file.write(json.dumps(content, indent=2) + "\n")


def _network(dataset: Dataset, settings: TrainingSettings) -> nn.Module:
    """The network with its first weights: from `init`, or random by the seed."""
    config = settings.network_config(len(dataset.channels), len(dataset.labels))
    torch.manual_seed(settings.seed)
    network = MSDKMamba(config)
    network.check_image((settings.batch_size, config.in_channels, *settings.window))
    if settings.init is None:
        return network
    weights, _ = load_checkpoint(settings.init)
    return build_model(describe_model(network), weights)


def _row(scores: Scores) -> dict[str, float]:
    dice = {f"dice {label}": value for label, value in scores.dice.items()}
    hd95 = {f"hd95 {label}": value for label, value in scores.hd95.items()}
    return {"dice mean": scores.mean_dice} | dice | hd95
