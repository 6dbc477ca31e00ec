"""TensorRT-RTX's own parser and builder, which need no GPU, on what of a graph lies around the msdk ops.

TensorRT-RTX takes no plugins and ends the process that asks for one: the graph is cut at the msdk nodes, and
the build is a process of its own, `python rtx_build.py model.onnx SM86 ...`, one line of JSON per target. Its
Python interface is TensorRT's, so that msdk_export.engine runs on it as it would on TensorRT. "interrupt" in
place of a target presses Ctrl-C in the middle of a build.
"""

import json
import os
import signal
import sys
import time

import onnx


def build(model: onnx.ModelProto, target: str) -> dict:
    """Build for one compute capability, such as SM86: {"target", "seconds", "bytes", "layers"}.

    For "interrupt": {"target", "said"}, TensorRT's last words. Raises ExportError with TensorRT's words.
    """
    import tensorrt_rtx as trt

    sys.modules["tensorrt"] = trt
    from msdk_export import engine

    class CtrlC(engine.ProgressMonitor):
        def phase_start(self, phase_name, parent_phase, num_steps):
            super().phase_start(phase_name, parent_phase, num_steps)
            if len(self._phases) == 1:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)  # the main thread hears of it

    if target == "interrupt":
        engine.ProgressMonitor = CtrlC
    log = engine.Log()
    start = time.perf_counter()
    builder = trt.Builder(log)
    network = engine.parse(builder, model, log)
    config = engine.configure(builder, network, engine.EngineOptions(best_batch=2))
    config.num_compute_capabilities = 1
    capability = "SM86" if target == "interrupt" else target
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    try:
        plan = engine.compile_network(builder, network, config, log, progress=True)
    except KeyboardInterrupt:
        return {"target": target, "said": str(log)}
    seconds = time.perf_counter() - start
    return {"target": target, "seconds": seconds, "bytes": len(plan), "layers": network.num_layers}


if __name__ == "__main__":
    model = onnx.load(sys.argv[1])
    for target in sys.argv[2:]:
        print(json.dumps(build(model, target)), flush=True)
