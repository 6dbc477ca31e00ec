"""Every published family and vintage, exported where its compiled functions do not run: right, or refused."""

import numpy as np
import onnxruntime
import pytest
import torch

import msdk_rt
from msdk_export import export_graph
from msdk_rt.errors import ExportError
from tests.support.published import gpu
from tests.support.published.networks import FAMILIES, UNKNOWN_ORDERS
from tests.support.published_blocks import randomised

SHAPE = (2, 6, 4, 2, 3)


def feature_map(seed=3):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def run(path, x):
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(msdk_rt.ops_library()))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input_0": x.numpy()})[0]


@pytest.mark.filterwarnings("ignore:.*use_fast_path")
@pytest.mark.parametrize("family", FAMILIES)
def test_family_is_exported_as_its_own_code_computes_it(family, tmp_path):
    network, x = randomised(FAMILIES[family]()), feature_map()
    with gpu.present(), torch.no_grad():
        truth = network(x).numpy()
    with pytest.raises(RuntimeError, match="is_cuda"), torch.no_grad():
        network(x)

    parity = export_graph(network, feature_map(4), tmp_path / "graph.onnx")

    found = run(tmp_path / "graph.onnx", x)
    error = np.linalg.norm(found - truth) / np.linalg.norm(truth)
    print(f"{family:<32} works, relative error {error:.1e}, export said {max(parity.values()):.1e}")
    assert error < 1e-5
    assert max(parity.values()) < 1e-5


@pytest.mark.parametrize("family", UNKNOWN_ORDERS)
@pytest.mark.parametrize("unverified", [False, True])
def test_order_of_a_class_that_only_shares_a_name_is_refused(family, unverified, tmp_path):
    network = randomised(UNKNOWN_ORDERS[family]())

    with pytest.raises(ExportError, match=r"CrossScanTriton|op .*does not run on this machine") as refused:
        export_graph(network, feature_map(), tmp_path / "graph.onnx", unverified=unverified)

    print(f"{family:<32} refused: {refused.value}")
    assert not list(tmp_path.iterdir())
