"""msdk-rt train from the outside: options become settings, and what is printed."""

import json
import subprocess
import sys

import pytest

from msdk_export.training import run as training
from msdk_export.training.distillation import DistillationWeights
from msdk_export.training.settings import TrainingSettings
from msdk_rt.commands.main import main
from msdk_rt.commands.train import EXAMPLES
from tests.support.spheres import TINY, decathlon


def settings_of(monkeypatch, *arguments):
    given = {}

    def train(data, out, settings, **options):
        given.update(settings=settings, options=options)
        return training.TrainingResult(out / "best", out / "last", 0.5, 1, 2)

    monkeypatch.setattr(training, "train", train)
    assert main(["train", "data", "out", *map(str, arguments)]) == 0
    return given["settings"], given["options"]


def test_no_option_is_the_default(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    settings, options = settings_of(monkeypatch)
    assert settings == TrainingSettings()
    assert options == {"restart": False, "progress": True}
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert settings_of(monkeypatch)[1] == {"restart": False, "progress": False}


def test_every_option_arrives(monkeypatch, tmp_path):
    wanted = {
        "steps": 7,
        "window": (16, 24, 32),
        "batch_size": 3,
        "learning_rate": 0.5,
        "seed": 5,
        "init": "a.safetensors",
        "validation": 4.0,
        "validate_every": 11,
        "save_every": 13,
        "overlap": 0.25,
        "augmentation": "strong",
        "mirror_axes": (1, 2),
        "foreground": 0.75,
        "ema_decay": 0.5,
        "amp": "bfloat16",
        "device": "cpu",
        "threads": 2,
        "workers": 3,
        "cache": 0.125,
    }
    weights = {"distillation": 0.0, "feature": 0.25, "temperature": 3.0, "scale_decay": 0.75}
    config = tmp_path / "config.json"
    config.write_text(json.dumps(TINY))
    arguments = ["--config", config, "--restart", "--quiet"]
    for name, value in (wanted | weights).items():
        arguments += [f"--{name.replace('_', '-')}", *(value if isinstance(value, tuple) else (value,))]
    settings, options = settings_of(monkeypatch, *arguments)
    network = json.loads(config.read_text())
    assert settings == TrainingSettings(
        **wanted, network=network, distillation=DistillationWeights(**weights)
    )
    assert options == {"restart": True, "progress": False}
    assert settings_of(monkeypatch, "--network", "base")[0].network == "base"
    assert settings_of(monkeypatch, "--mirror-axes")[0].mirror_axes == ()


def test_help_tells_the_defaults_as_they_are(capsys):
    with pytest.raises(SystemExit) as done:
        main(["train", "--help"])
    assert done.value.code == 0
    text = " ".join(capsys.readouterr().out.partition("examples:")[0].split())
    defaults = TrainingSettings()
    for option, value in {
        "steps": defaults.steps,
        "window": "64 64 64",
        "batch-size": defaults.batch_size,
        "learning-rate": defaults.learning_rate,
        "ema-decay": defaults.ema_decay,
        "augmentation": defaults.augmentation,
        "foreground": defaults.foreground,
        "seed": defaults.seed,
        "validation": defaults.validation,
        "validate-every": defaults.validate_every,
        "overlap": defaults.overlap,
        "save-every": defaults.save_every,
        "device": defaults.device,
        "workers": defaults.workers,
        "cache": f"{defaults.cache:g}",
    }.items():
        described = text[text.rindex(f" --{option} ") :].split("(default: ")[1]
        assert described.startswith(f"{value})"), option
    assert defaults.window == (64, 64, 64)
    assert "mamba-ssm" in EXAMPLES


def test_a_run_prints_its_checkpoints(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    data = decathlon(tmp_path / "data", cases=2)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(TINY))
    options = ["--config", str(config), "--window", "16", "16", "16", "--steps", "1", "--threads", "1"]
    assert main(["train", str(data), str(tmp_path / "out"), *options]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"best      {tmp_path / 'out' / 'best.safetensors'}, mean Dice 0.")
    assert "1/1" in captured.err
    assert main(["train", str(data), str(tmp_path / "out"), *options, "--seed", "1"]) == 1
    assert "seed was 0, now 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "dataset.json"),
        (["--overlap", "1"], "overlap must be"),
        (["--temperature", "0"], "temperature"),
        (["--config", "none.json"], "cannot read none.json"),
    ],
)
def test_errors_are_one_line_and_exit_code_1(tmp_path, capsys, arguments, message):
    assert main(["train", str(tmp_path), str(tmp_path / "out"), *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_wrong_usage_is_exit_code_2(capsys):
    for arguments in (["data"], ["data", "out", "--window", "64"], ["data", "out", "--network", "huge"]):
        with pytest.raises(SystemExit) as done:
            main(["train", *arguments])
        assert done.value.code == 2


def test_what_to_install_without_the_extra():
    code = (
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'monai' else found(name)\n"
        "from msdk_rt.commands.main import main\n"
        "code = main(['train', 'data', 'out'])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == (
        "msdk-rt: train needs monai, which is not installed: pip install 'msdk_rt[train]'\n"
    )
