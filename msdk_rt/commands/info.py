"""`msdk-rt info`: a manifest in words."""

import argparse
import dataclasses
import json
from pathlib import Path

from msdk_rt.artifact.bundle import is_bundle, manifest_of, texts_of
from msdk_rt.artifact.manifest import Manifest
from msdk_rt.artifact.spacing import range_in_words
from msdk_rt.commands.command import Command
from msdk_rt.commands.recipe_words import axes_in_words, normalisation_in_words, recipe_in_words
from msdk_rt.errors import writable

EXAMPLES = "examples:\n  msdk-rt info model.onnx\n  msdk-rt info model.onnx --json | jq .labels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model.onnx, its manifest beside it; or model.msdk")
    parser.add_argument("--json", action="store_true", help="the manifest as JSON")


def run(options: argparse.Namespace) -> int:
    manifest = manifest_of(options.model)
    if options.json:
        print(json.dumps(dataclasses.asdict(manifest), indent=2))
    else:
        print(describe(options.model, manifest))
        for text in texts_of(options.model).values() if is_bundle(options.model) else ():
            print(f"\n{writable(text.strip())}")
    return 0


def describe(path: Path, manifest: Manifest) -> str:
    """Describe a model for a reader, one fact a line."""
    labels = ", ".join(f"{name} = {value}" for name, value in manifest.labels.items())
    rows = {
        "model": f"{path} ({path.stat().st_size / 1e6:.1f} MB)",
        "family": manifest.family,
        "channels": ", ".join(manifest.channels),
        "labels": labels,
        "activation": manifest.activation,
        "window": f"{' x '.join(map(str, manifest.window))} voxels, {axes_in_words(manifest)}",
        "normalisation": normalisation_in_words(manifest),
        **recipe_in_words(manifest),
        "blending": f"{manifest.blending['mode']}, as {manifest.blending['scheme']}",
        "precision": manifest.precision,
        **({} if manifest.resampling else {"spacing": _spacing(manifest)}),
        "created by": manifest.created_by,
        "SHA-256": manifest.sha256,
    }
    if manifest.engine is not None:
        rows["engine"] = ", ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in manifest.engine.items()
        )
    rows |= {f"parity, {name}": text for name, text in parity_lines(manifest).items()}
    lines = [f"{name:<18}{value}" for name, value in rows.items()]
    return "\n".join(lines + [f"{'note':<18}{note}" for note in manifest.notes])


def _spacing(manifest: Manifest) -> str:
    """The voxels that the network was trained or checked with."""
    return "not known" if manifest.spacing is None else f"{range_in_words(manifest.spacing)} mm"


def parity_lines(manifest: Manifest) -> dict[str, str]:
    """The measurements of each window that was compared with PyTorch at export, by the window's name."""
    return {
        name: ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in measured.items())
        for name, measured in manifest.parity.items()
        if isinstance(measured, dict)
    }


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


COMMAND = Command(
    "info", "show a model's channels, labels, window, measured parity", EXAMPLES, add_arguments, run
)
