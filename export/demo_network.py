"""The network that `msdk-rt demo` exports: tissue classes from a T1 volume.

Its weights come with the package; export/weights/README.md describes their training and their limits.
"""

from pathlib import Path

import numpy as np

from msdk_export.onnx_export import export
from msdk_rt.artifact.manifest import Manifest

OWN_WEIGHTS = Path(__file__).parent / "weights" / "demo.safetensors"


def export_demo(artifact: Path, weights: Path | None = None, progress: bool = True) -> Manifest:
    """Export the demo network, or that of another checkpoint, to `artifact`; raises what export raises.

    progress: show the steps.
    """
    return export(weights or OWN_WEIGHTS, artifact, progress=progress)


def reference_labels() -> tuple[np.ndarray, dict[str, int]]:
    """The MNI152 maps' labels of the demo's volume: (D, H, W) in RAS order, {tissue: value}."""
    from msdk_export.synthetic.template import CLASSES, load_template

    return load_template().labels, {name: value for value, name in enumerate(CLASSES)}
