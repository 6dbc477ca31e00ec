"""nnU-Net's predictor with other numbers than float16 in its sums: what of a difference those explain."""

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian

PEAK, SIGMA_SCALE = 10, 1 / 8  # the arguments that nnUNetPredictor gives


def nnunet_predictor(
    sums: torch.dtype | None = None, numbers: torch.dtype = torch.float32, mirror: bool = False
) -> nnUNetPredictor:
    """nnUNetPredictor as it is on a CPU; with `sums` Summing."""
    if sums is not None:
        return Summing(sums, numbers, use_mirroring=mirror)
    return nnUNetPredictor(device=torch.device("cpu"), use_mirroring=mirror, allow_tqdm=False)


class Summing(nnUNetPredictor):
    """nnUNetPredictor whose weighted windows are summed, and resampled back, in `sums`.

    It does both in float16, whatever the device. numbers: what the network computes in. The weights are the
    float16 numbers that they are there; all else is its own code. float16 is what nnUNetPredictor does.
    """

    def __init__(self, sums: torch.dtype, numbers: torch.dtype = torch.float32, **options):
        super().__init__(device=torch.device("cpu"), allow_tqdm=False, **options)
        self._sums, self._numbers = sums, numbers

    def _internal_predict_sliding_window_return_logits(self, data, slicers, do_on_device=True):
        self.network.to(self._numbers)
        window = tuple(self.configuration_manager.patch_size)
        weights = compute_gaussian(window, SIGMA_SCALE, PEAK, device=self.device)
        heads = self.label_manager.num_segmentation_heads
        total = torch.zeros((heads, *data.shape[1:]), dtype=self._sums)
        weight = torch.zeros(data.shape[1:], dtype=self._sums)
        for place in slicers:
            logits = self._internal_maybe_mirror_and_predict(data[place][None].to(self._numbers))[0]
            total[place] += logits * weights
            weight[place[1:]] += weights
        return total / weight
