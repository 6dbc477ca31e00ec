"""ONNX Runtime's CUDA provider with the msdk ops: one node at a time, then the demo's network and volume."""

import json
import tempfile
from pathlib import Path

import numpy as np

from tests.gpu.op_checks import check_close, rounded
from tests.gpu.report import Skip
from tests.support import oracle

CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]


def require_cuda_provider():
    """The onnxruntime module. Raises Skip where it is missing or has no CUDA."""
    try:
        import onnxruntime
    except ImportError as error:
        raise Skip(f"ONNX Runtime cannot be imported ({error}): pip install onnxruntime-gpu") from error
    if CUDA[0] not in onnxruntime.get_available_providers():
        raise Skip(
            f"this ONNX Runtime {onnxruntime.__version__} has no CUDA provider: install onnxruntime-gpu "
            "in its place"
        )
    return onnxruntime


def session_on_cuda(onnxruntime, model: str | bytes, library: Path, folder: str):
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(folder) / "profile")
    options.register_custom_ops_library(str(library))
    session = onnxruntime.InferenceSession(model, options, providers=CUDA)
    assert session.get_providers()[0] == CUDA[0], f"only {session.get_providers()} started"
    return session


def check_ran_on_cuda(session) -> int:
    """How many nodes of our three ops ran; every one on the CUDA provider, by the session's own profile."""
    events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [event["args"] for event in events if event.get("cat") == "Node" and "provider" in event["args"]]
    ops = ("DirectionalConv1d", "BidirectionalSelectiveScan", "KanLinear")
    providers = [args["provider"] for args in nodes if args["op_name"] in ops]
    assert set(providers) == {CUDA[0]}, f"msdk nodes ran on {sorted(set(providers))}"
    return len(providers)


def check_nodes(library: Path, cases: list[tuple]) -> int:
    """Each (op, reference, inputs, names of T, attributes) in both types, on CUDA against the oracle."""
    onnxruntime = require_cuda_provider()
    try:
        from tests.support.nodes import node_model
    except ImportError as error:
        raise Skip(f"single nodes need the onnx package: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        for op, reference, inputs, names, attributes in cases:
            for dtype in (np.float32, np.float16):
                typed = rounded(inputs, names, dtype)
                model = node_model(op, typed, **attributes).SerializeToString()
                session = session_on_cuda(onnxruntime, model, library, folder)
                feeds = {name: array for name, array in typed.items() if array is not None}
                check_close(session.run(None, feeds)[0], reference(**typed, **attributes), 2e-6, op)
                assert check_ran_on_cuda(session) == 1, f"{op} is not in the profile"
    return 2 * len(cases)


def cases_of(scan, conv, kan) -> list[tuple]:
    """Return arguments of check_nodes, one case for each op."""
    grid = {"grid_min": kan.grid_min, "grid_max": kan.grid_max}
    attributes = {"directions": scan.directions, "scale": scan.scale}
    scan_op, scan_names = oracle.bidirectional_selective_scan, ("u", "x_dbl", "z")
    return [
        ("BidirectionalSelectiveScan", scan_op, scan.inputs(), scan_names, attributes),
        (
            "DirectionalConv1d",
            oracle.directional_conv1d,
            conv.inputs(),
            ("x",),
            {"directions": conv.directions},
        ),
        ("KanLinear", oracle.kan_linear, kan.inputs(), ("x",), grid),
    ]


def check_demo(model: Path, exact: Path, scan: Path, least: float) -> str:
    """A scan segmented on CUDA: this share of voxels is labelled as on the CPU by the float32 model."""
    onnxruntime = require_cuda_provider()
    from msdk_rt.backends.libraries import ops_library
    from msdk_rt.segmenter import Segmenter
    from tests.gpu.segmenter_checks import check_agreement

    with Segmenter(exact, providers=["CPUExecutionProvider"]) as segmenter:
        expected = segmenter.run(scan).labels
        window, channels = segmenter.manifest.window, len(segmenter.manifest.channels)
    with Segmenter(model, providers=CUDA) as segmenter:
        *_, actual = (result.labels for result in segmenter.run([[scan]] * 3))
        memory = segmenter.device_memory(actual.shape)  # an error where the CPU works on volumes
    against = check_agreement(actual, expected, least)
    with tempfile.TemporaryDirectory() as folder:
        session = session_on_cuda(onnxruntime, str(model), ops_library(), folder)
        session.run(None, {"image": np.zeros((1, channels, *window), np.float32)})
        nodes = check_ran_on_cuda(session)
    return (
        f"{against} than by the CPU in float32; {nodes} msdk nodes ran on CUDA; the volume took "
        f"{memory.buffers / 1e6:.0f} MB there"
    )
