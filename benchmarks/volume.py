"""How long does a whole volume take, against PyTorch under MONAI's sliding window?

The demo network on the MNI152 T1 at 1 mm, the same windows, overlap and Gaussian on both sides: normalised,
segmented, labelled. Both must give the same labels.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.transforms import NormalizeIntensity

from benchmarks.measure import Contestant, measure, record
from msdk_export.checkpoints import build_model, load_checkpoint
from msdk_export.demo_network import OWN_WEIGHTS, export_demo
from msdk_export.synthetic.template import load_template
from msdk_rt import Segmenter
from msdk_rt.inference.brain_mask import find_brain

THREADS = 2
SPACING = (1.0, 1.0, 1.0)  # mm
LEAST_AGREEMENT = 0.9999


def pytorch_labels(image: np.ndarray, weights: Path = OWN_WEIGHTS) -> np.ndarray:
    """A checkpoint under PyTorch eager and MONAI's sliding window: labels (D, H, W) of an image (D, H, W).

    The image has 1 mm. The brain mask is the runtime's: PyTorch has none.
    """
    state_dict, description = load_checkpoint(weights)
    network = build_model(description, state_dict)
    brain = find_brain(description["brain_mask"], image, SPACING) if "brain_mask" in description else None
    image = image if brain is None else np.where(brain, image, np.float32(0))
    normalised = NormalizeIntensity(nonzero=True, channel_wise=True)(torch.from_numpy(image.copy())[None])
    with torch.inference_mode():
        logits = sliding_window_inference(
            torch.as_tensor(normalised)[None], description["window"], 1, network, overlap=0.5, mode="gaussian"
        )
    labels = logits[0].argmax(0).numpy()
    return labels if brain is None else np.where(brain, labels, 0)


def main() -> None:
    torch.set_num_threads(THREADS)
    image = load_template().t1.numpy()
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "model.onnx"
        export_demo(artifact)
        with Segmenter(artifact, threads=THREADS) as segmenter:
            contestants = [
                Contestant("msdk_rt", lambda: segmenter.run(image[None], spacing=SPACING), THREADS),
                Contestant("PyTorch eager, MONAI", lambda: pytorch_labels(image), THREADS),
            ]
            found, expected = (contestant.run() for contestant in contestants)
            windows = segmenter.count_windows(image.shape)
            case = f"MNI152 T1, 1 mm, {windows} windows of {segmenter.manifest.window[0]}^3"
            measure("volume", case, contestants, work=windows, unit="windows")
    agreement = float(np.mean(found == expected))
    print(f"  labels alike: {agreement:.6%}\n")
    record("volume_labels", case, {"labels alike": 100 * agreement}, "%")
    if agreement < LEAST_AGREEMENT:
        raise SystemExit(f"below {LEAST_AGREEMENT:.2%} of labels alike")
