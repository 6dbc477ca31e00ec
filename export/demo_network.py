"""The network that `msdk-rt demo` exports: tissue classes from a T1 volume.

Its weights come with the package; export/weights/README.md describes their training and their limits.
`python -m msdk_export.demo_network MASK NETWORK OUT` makes their checkpoint of a brain mask and a network.
"""

import argparse
from pathlib import Path

import numpy as np

from msdk_export.onnx_export import export
from msdk_rt.artifact.manifest import Manifest

OWN_WEIGHTS = Path(__file__).parent / "weights" / "demo.safetensors"
THRESHOLD = 0.65  # of the brain mask; export/weights/README.md says why, and why its edge moves so
EDGE = {"threshold": 0.3, "reach": 3.0, "darkest": 0.75, "brightest": 1.05, "depth": 5.0, "axes": [0, 1]}
# Wider than any adult's, in the head's own size or in MNI152's, which is larger than most heads.
PLAUSIBLE_ML = {
    "cerebrospinal fluid": [20.0, 700.0],
    "grey matter": [400.0, 1300.0],
    "white matter": [250.0, 900.0],
}


def export_demo(artifact: Path, weights: Path | None = None, progress: bool = True) -> Manifest:
    """Export the demo network, or that of another checkpoint, to `artifact`; raises what export raises.

    progress: show the steps.
    """
    return export(weights or OWN_WEIGHTS, artifact, progress=progress)


def reference_labels() -> tuple[np.ndarray, dict[str, int]]:
    """The MNI152 maps' labels of the demo's volume: (D, H, W) in RAS order, {tissue: value}."""
    from msdk_export.synthetic.template import CLASSES, load_template

    return load_template().labels, {name: value for value, name in enumerate(CLASSES)}


def assemble(mask: Path, network: Path, out: Path) -> Path:
    """Write a checkpoint with a network's weights, and the brain mask and volumes in its description.

    mask: the file of msdk_export.brain_mask.training. network: a checkpoint of msdk-rt train.
    """
    import torch

    from msdk_export.brain_mask.entry import entry_of
    from msdk_export.brain_mask.network import BrainMaskNet
    from msdk_export.checkpoints import build_model, load_checkpoint, save_checkpoint
    from msdk_export.synthetic.coarse_heads import SPACING

    brain_mask = BrainMaskNet()
    brain_mask.load_state_dict(torch.load(mask, weights_only=True))
    weights, description = load_checkpoint(network)
    entries = {
        "brain_mask": entry_of(brain_mask, SPACING, THRESHOLD, EDGE),
        "plausible_ml": PLAUSIBLE_ML,
    }
    return save_checkpoint(out, build_model(description, weights), description | entries)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m msdk_export.demo_network", description=assemble.__doc__)
    for name in ("mask", "network", "out"):
        parser.add_argument(name, type=Path)
    print(assemble(**vars(parser.parse_args())))
