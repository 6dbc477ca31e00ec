"""TensorRT-RTX builds the graph around the msdk ops for this GPU and runs it.

`python -m tests.gpu.rtx_checks MODEL` checks one model.

It takes no plugins and ends the process that asks for one. So the graph is cut at the msdk ops, and this runs
in a separate process. Random values stand for the ops' outputs; ONNX Runtime on the CPU is the reference.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np

from tests.gpu.environment import run
from tests.gpu.report import Skip

MOST = {"float32": 1e-3, "float16": 5e-2}  # relative error of an output
SEED = 62
NOT_HERE = "not here: "


def check_rtx(model: Path) -> str:
    """Build and run the model's float32 or float16 graph in a separate process."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        raise Skip("TensorRT-RTX is not installed: pip install tensorrt-rtx")
    if importlib.util.find_spec("onnx") is None:
        raise Skip("the graph is cut with onnx, which is not installed: pip install 'msdk_rt[export]'")
    said = run([sys.executable, "-m", "tests.gpu.rtx_checks", model]).splitlines()[-1]
    if said.startswith(NOT_HERE):
        raise Skip(said.removeprefix(NOT_HERE))
    return said


def main(path: Path) -> None:
    if reason := not_here():
        print(NOT_HERE + reason)
        return
    import onnx

    from msdk_rt.artifact.manifest import read_manifest
    from tests.support.around_ops import cut, standard_ops
    from tests.support.rtx_build import plan_of

    precision = read_manifest(path).precision
    around = cut(standard_ops(onnx.load(path)))
    feeds = random_feeds(around)
    network, plan = plan_of(around, "CURRENT")
    found = execute(plan, feeds)
    for name, expected in on_cpu(around, feeds).items():
        error = np.linalg.norm(found[name] - expected) / max(np.linalg.norm(expected), 1e-30)
        assert error <= MOST[precision], f"{name}: relative error {error:.1e}"
    print(f"{precision}: {network.num_layers} layers, {len(plan)} bytes, {len(found)} outputs as on the CPU")


def not_here() -> str:
    """Why TensorRT-RTX cannot run on this machine, or nothing."""
    import tensorrt_rtx as trt

    from msdk_rt.errors import MsdkError

    try:
        from msdk_rt.backends import cuda

        name = f"SM{cuda.compute_capability().replace('.', '')}"
    except MsdkError as error:
        return str(error)
    known = sorted(capability for capability in dir(trt.ComputeCapability) if capability.startswith("SM"))
    return (
        "" if name in known else f"TensorRT-RTX {trt.__version__} is for {', '.join(known)}, this is {name}"
    )


def random_feeds(model) -> dict[str, np.ndarray]:
    """Standard normal values for every input, at batch 1."""
    from onnx import helper

    rng, feeds = np.random.default_rng(SEED), {}
    for info in model.graph.input:
        tensor = info.type.tensor_type
        shape = [dim.dim_value or 1 for dim in tensor.shape.dim]
        feeds[info.name] = rng.standard_normal(shape).astype(
            helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        )
    return feeds


def on_cpu(model, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {
        name: value.astype(np.float64) for name, value in zip(names, session.run(names, feeds), strict=True)
    }


def execute(plan: bytes, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of a plan on the GPU, in float64."""
    import tensorrt_rtx as trt

    from msdk_rt.backends import cuda

    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(plan)
    assert engine is not None, "TensorRT-RTX refused its own plan"
    context, stream, kept, results = engine.create_execution_context(), cuda.Stream(), [], {}
    for name, value in feeds.items():
        assert context.set_input_shape(name, value.shape), f"{name} of shape {value.shape} is refused"
        kept.append(device_copy(stream, value))
        context.set_tensor_address(name, kept[-1].address)
    outputs = [
        name for name in map(engine.get_tensor_name, range(engine.num_io_tensors)) if name not in feeds
    ]
    for name in outputs:
        host = np.empty(tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name)))
        memory = cuda.DeviceMemory(host.nbytes)
        context.set_tensor_address(name, memory.address)
        results[name] = host, memory
    assert context.execute_async_v3(stream.handle), "TensorRT-RTX did not run"
    for host, memory in results.values():
        stream.download(memory, host)
    stream.synchronize()
    return {name: host.astype(np.float64) for name, (host, _) in results.items()}


def device_copy(stream, value: np.ndarray):
    from msdk_rt.backends import cuda

    memory = cuda.DeviceMemory(value.nbytes)
    stream.upload(value, memory)
    return memory


if __name__ == "__main__":
    main(Path(sys.argv[1]))
