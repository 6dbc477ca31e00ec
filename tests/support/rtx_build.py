"""TensorRT-RTX's own parser and builder, which need no GPU, on what of a graph lies around the msdk ops.

TensorRT-RTX takes no plugins and ends the process that asks for one: the graph is cut at the msdk nodes, and
the build is a separate process, `python rtx_build.py model.onnx SM86 ...`, one line of JSON per target. Its
Python interface is TensorRT's, so that msdk_export.engine runs on it as it would on TensorRT. "interrupt" in
place of a target presses Ctrl-C in the middle of a build.
"""

import contextlib
import json
import os
import signal
import sys
import time

import onnx


def build(model: onnx.ModelProto, target: str) -> dict:
    """Build for one compute capability, such as SM86: {"target", "seconds", "bytes", "layers", "tf32"}.

    For "interrupt": {"target", "said"}, TensorRT's last words. Raises ExportError with TensorRT's words.
    """
    start = time.perf_counter()
    if target == "interrupt":
        return {"target": target, "said": interrupted(model)}
    engine = engine_module()
    network, config, plan = compiled(engine, model, target, engine.Log())
    return {
        "target": target,
        "seconds": time.perf_counter() - start,
        "bytes": len(plan),
        "layers": network.num_layers,
        "tf32": config.get_flag(engine.trt.BuilderFlag.TF32),
    }


def plan_of(model: onnx.ModelProto, target: str) -> tuple:
    """TensorRT-RTX's network of the model, and its plan for one compute capability."""
    engine = engine_module()
    network, _, plan = compiled(engine, model, target, engine.Log())
    return network, plan


def interrupted(model: onnx.ModelProto) -> str:
    """Return TensorRT-RTX's last message when Ctrl-C was pressed in the middle of a build."""
    engine = engine_module()

    class CtrlC(engine.ProgressMonitor):
        def phase_start(self, phase_name, parent_phase, num_steps):
            super().phase_start(phase_name, parent_phase, num_steps)
            if len(self._phases) == 1:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)  # the main thread hears of it

    engine.ProgressMonitor = CtrlC
    log = engine.Log()
    with contextlib.suppress(KeyboardInterrupt):
        compiled(engine, model, "SM86", log)
    return str(log)


def engine_module():
    """msdk_export.engine on TensorRT-RTX."""
    import tensorrt_rtx

    sys.modules["tensorrt"] = tensorrt_rtx
    from msdk_export.engine import builder as engine

    return engine


def compiled(engine, model: onnx.ModelProto, target: str, log) -> tuple:
    """Network, configuration and plan."""
    builder = engine.trt.Builder(log)
    network = engine.parse(builder, model, log)
    config = engine.configure(builder, network, engine.EngineOptions(best_batch=2))
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(engine.trt.ComputeCapability, target), 0)
    return network, config, engine.compile_network(builder, network, config, log, progress=True)


if __name__ == "__main__":
    model = onnx.load(sys.argv[1])
    for target in sys.argv[2:]:
        print(json.dumps(build(model, target)), flush=True)
