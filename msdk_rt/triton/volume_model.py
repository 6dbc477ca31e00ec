"""The model that Triton's Python backend runs: a volume in, labels out."""

import json
import os
from typing import Any

import numpy as np

from msdk_rt.errors import InputError, MsdkError, one_line
from msdk_rt.segmenter import Segmenter


class TritonPythonModel:
    """Called by Triton in a process of its own, one request after the other.

    VOLUME: (C, D, H, W) float32 in the model's axes, intensities as acquired. SPACING: (3,) millimetres along
    D, H, W, for a model that resamples. LABELS: (D, H, W).
    """

    def initialize(self, arguments: dict[str, str]) -> None:
        """Open the model beside this file's copy in the repository."""
        config = json.loads(arguments["model_config"])
        values = {name: entry["string_value"] for name, entry in config["parameters"].items()}
        folder = os.path.join(arguments["model_repository"], arguments["model_version"])
        settings = json.loads(values["settings"])
        self._segmenter = Segmenter(os.path.join(folder, values["artifact"]), **settings)
        kind = config["output"][0]["data_type"].removeprefix("TYPE_").lower()
        self._kind = np.dtype(kind)

    def execute(self, requests: list[Any]) -> list[Any]:
        """An answer for each request; an error is its own request's alone."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Release the network."""
        self._segmenter.close()

    def _answer(self, request: Any) -> Any:
        import triton_python_backend_utils as triton

        try:
            labels = self._labels(triton, request)
        except (MsdkError, MemoryError) as error:
            code = (
                triton.TritonError.INVALID_ARG
                if isinstance(error, InputError)
                else triton.TritonError.INTERNAL
            )
            return triton.InferenceResponse(error=triton.TritonError(one_line(error), code))
        return triton.InferenceResponse([triton.Tensor("LABELS", labels)])

    def _labels(self, triton: Any, request: Any) -> Any:
        volume = triton.get_input_tensor_by_name(request, "VOLUME").as_numpy()
        given = triton.get_input_tensor_by_name(request, "SPACING")
        spacing = None if given is None else [float(side) for side in given.as_numpy()]
        labels = self._segmenter.run(volume, spacing=spacing)
        return np.ascontiguousarray(labels, self._kind)
