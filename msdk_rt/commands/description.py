"""A manifest in words."""

from pathlib import Path

from msdk_rt.artifact.manifest import Manifest


def describe(path: Path, manifest: Manifest) -> str:
    """What a reader wants to know of a model, one fact a line."""
    labels = ", ".join(f"{name} = {value}" for name, value in manifest.labels.items())
    rows = {
        "model": f"{path} ({path.stat().st_size / 1e6:.1f} MB)",
        "family": manifest.family,
        "channels": ", ".join(manifest.channels),
        "labels": labels,
        "activation": manifest.activation,
        "window": f"{' x '.join(map(str, manifest.window))} voxels, axes {manifest.orientation}",
        "normalisation": manifest.normalization,
        "blending": f"{manifest.blending['mode']}, as {manifest.blending['scheme']}",
        "precision": manifest.precision,
        "created by": manifest.created_by,
        "SHA-256": manifest.sha256,
    }
    if manifest.engine is not None:
        rows["engine"] = ", ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in manifest.engine.items()
        )
    rows |= {f"parity, {name}": text for name, text in parity_lines(manifest).items()}
    return "\n".join(f"{name:<18}{value}" for name, value in rows.items())


def parity_lines(manifest: Manifest) -> dict[str, str]:
    """The measurements of each window that was compared with PyTorch at export, by the window's name."""
    return {
        name: ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in measured.items())
        for name, measured in manifest.parity.items()
        if isinstance(measured, dict)
    }


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
