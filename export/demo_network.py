"""The network that `msdk-rt demo` exports: tissue classes from a T1 volume."""

from pathlib import Path

import torch

from msdk_export.models.msd_kmamba import MSDKMamba, demo_config
from msdk_export.onnx_export import export
from msdk_rt.manifest import Manifest

UNTRAINED = "untrained weights: the labels mean nothing"
WINDOW = (64, 64, 64)
LABELS = {"background": 0, "cerebrospinal fluid": 1, "grey matter": 2, "white matter": 3}
OWN_WEIGHTS = Path(__file__).parent / "weights" / "demo.safetensors"
SEED = 0


def export_demo(artifact: Path, weights: Path | None = None) -> tuple[Manifest, str]:
    """Export the demo network to `artifact`; returns its manifest and what to say of its weights.

    weights: a checkpoint; default: the package's own, or where there are none a network with random weights.
    Raises what export raises.
    """
    checkpoint = weights or (OWN_WEIGHTS if OWN_WEIGHTS.is_file() else None)
    if checkpoint is not None:
        return export(checkpoint, artifact, progress=True), f"weights of {checkpoint.name}"
    torch.manual_seed(SEED)
    network = MSDKMamba(demo_config(in_channels=1, num_classes=len(LABELS)))
    manifest = export(network, artifact, window=WINDOW, channels=["t1"], labels=LABELS, progress=True)
    return manifest, UNTRAINED
