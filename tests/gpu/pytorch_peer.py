"""A checkpoint in PyTorch eager under MONAI's sliding window, which the runtime replaces.

Windows, overlap and Gaussian are the runtime's; on a GPU the volume is blended there too.
The scans run on mamba-ssm's kernel where that is installed, else on the op's own form in PyTorch.
"""

import contextlib
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.transforms import NormalizeIntensity

from msdk_export import build_model, load_checkpoint
from msdk_export.layers import bimamba
from msdk_export.ops.mamba_ssm_scan import installed_selective_scan_fn, scan_with
from msdk_rt.inference.brain_mask import find_brain


class PyTorchSegmenter:
    """device: as torch names it. half: autocast to float16, in which norms and the scan stay float32."""

    def __init__(self, checkpoint: Path, device: str, half: bool = False):
        weights, self._description = load_checkpoint(checkpoint)
        self._network = build_model(self._description, weights).eval().to(device)
        self._device, self._half = torch.device(device), half
        kernel = installed_selective_scan_fn() if self._device.type == "cuda" else None
        self._scan = partial(scan_with, kernel) if kernel else bimamba.selective_scan
        scans = "mamba-ssm's scan" if kernel else "scan in PyTorch"
        self.name = f"PyTorch {torch.__version__} {'float16' if half else 'float32'}, {scans}, MONAI"

    def run(self, volume: np.ndarray) -> np.ndarray:
        """Labels (D, H, W) of a volume (C, D, H, W) of 1 mm, host to host; the mask is the runtime's."""
        volume, entry = np.asarray(volume, np.float32), self._description.get("brain_mask")
        brain = find_brain(entry, volume[0], (1.0, 1.0, 1.0)) if entry else None
        volume = volume if brain is None else np.where(brain, volume, np.float32(0))
        image = torch.from_numpy(np.ascontiguousarray(volume)).to(self._device)
        image = torch.as_tensor(NormalizeIntensity(nonzero=True, channel_wise=True)(image))
        with self._inference():
            logits = sliding_window_inference(
                image[None],
                self._description["window"],
                sw_batch_size=1,
                predictor=self._network,
                overlap=0.5,
                mode="gaussian",
            )
        values = np.array(list(self._description["labels"].values()))
        labels = values[logits[0].argmax(0).cpu().numpy()]
        return labels if brain is None else np.where(brain, labels, 0)

    @contextlib.contextmanager
    def _inference(self):
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.float16, enabled=self._half),
            patch.object(bimamba, "selective_scan", self._scan),
        ):
            yield
