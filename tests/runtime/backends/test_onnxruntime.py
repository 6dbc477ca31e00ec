"""ONNX Runtime behind the segmenter: providers, the op library, foreign graphs."""

import numpy as np
import onnx
import onnxruntime
import pytest

import msdk_rt.backends.libraries
import msdk_rt.backends.onnxruntime
from msdk_export.graph.functions import attach_functions
from msdk_rt.artifact.manifest import read_manifest
from msdk_rt.backends.onnxruntime import OnnxRuntimeBackend, with_options
from msdk_rt.backends.processors import threads_for
from msdk_rt.errors import ArtifactError, BackendError, InputError
from msdk_rt.segmenter import Segmenter
from tests.support import oracle
from tests.support.nodes import node_model
from tests.support.small_model import WINDOW, describe, small_network, write_artifact


def backend(artifact, **options):
    return OnnxRuntimeBackend(artifact, read_manifest(artifact), **options)


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_logits(artifact, threads):
    windows = np.random.default_rng(0).standard_normal((3, 1, *WINDOW)).astype(np.float32)
    opened = backend(artifact, threads=threads)
    assert opened.threads == threads_for(threads)
    logits = opened.infer(windows)
    np.testing.assert_allclose(logits, small_network(windows, 2), rtol=1e-4, atol=1e-4)
    assert logits.flags.writeable


def test_providers(artifact):
    assert backend(artifact, providers=["CPUExecutionProvider"]).providers == ["CPUExecutionProvider"]
    assert backend(artifact, providers=[("CPUExecutionProvider", {})]).providers == ["CPUExecutionProvider"]
    with pytest.raises(BackendError, match=r"HalProvider is not in this ONNX Runtime .*CPUExecutionProvider"):
        backend(artifact, providers=["HalProvider", "CPUExecutionProvider"])


def test_a_provider_that_does_not_start(artifact, monkeypatch):
    """A provider is built in but its driver is missing, and ONNX Runtime says nothing."""
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["HalProvider", "CPUExecutionProvider"]
    )
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, options, providers: real(path, options, providers[1:])
    )
    with pytest.raises(BackendError, match="HalProvider did not start, only CPUExecutionProvider did"):
        backend(artifact, providers=["HalProvider", "CPUExecutionProvider"])


def test_missing_op_library(artifact, monkeypatch):
    monkeypatch.setattr(msdk_rt.backends.libraries, "LIBRARY_NAME", "libabsent.so")
    with pytest.raises(BackendError, match=r"op library .*libabsent.so is missing.*make setup"):
        Segmenter(artifact)


def test_what_is_no_onnx_file(artifact):
    artifact.write_bytes(b"\x89PNG\r\n" * 50)
    describe(artifact)
    with pytest.raises(ArtifactError, match=r"model.onnx is not an ONNX file .*export it again") as caught:
        Segmenter(artifact)
    assert caught.value.__cause__ is not None


def test_a_graph_of_another_shape(artifact):
    describe(artifact, classes=3)
    with pytest.raises(
        ArtifactError, match=r"has output logits .*expected logits tensor\(float\) \['B', 3, 8, 6, 7\]"
    ):
        Segmenter(artifact)
    describe(artifact, channels=2)
    with pytest.raises(ArtifactError, match="has input image"):
        Segmenter(artifact)


@pytest.mark.parametrize("change", ["name", "fixed batch", "type"])
def test_a_foreign_graph(artifact, change):
    model = onnx.load(artifact)
    image = model.graph.input[0]
    if change == "name":
        image.name = model.graph.node[0].input[0] = "x"
    elif change == "fixed batch":
        for value in (image, model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_value = 1
    else:
        image.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
        image.name = "half"
        model.graph.node.insert(
            0, onnx.helper.make_node("Cast", ["half"], ["image"], to=onnx.TensorProto.FLOAT)
        )
    onnx.save(model, artifact)
    describe(artifact)
    with pytest.raises(ArtifactError, match=r"has input .*expected image"):
        Segmenter(artifact)


def test_a_graph_without_the_folds_of_its_manifest(tmp_path):
    labels = {"a": 0, "b": 1}
    artifact = write_artifact(tmp_path / "model.onnx", classes=2, labels=labels, folds=2)
    with pytest.raises(ArtifactError, match=r"has output .*expected logits .*\['B', 4, 8, 6, 7\]"):
        Segmenter(artifact)


def test_a_failing_run_has_a_cause(artifact):
    with pytest.raises(BackendError, match=r"failed on windows of shape \(1, 1, 2, 2, 2\)") as caught:
        backend(artifact).infer(np.zeros((1, 1, 2, 2, 2), np.float32))
    assert caught.value.__cause__ is not None


def test_one_model_for_any_batch(tmp_path):
    path = write_artifact(tmp_path / "model.onnx", channels=2, classes=3)
    for batch in (1, 5):
        assert backend(path).infer(np.zeros((batch, 2, *WINDOW), np.float32)).shape == (batch, 3, *WINDOW)


GPU_PROVIDERS = ["CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"]


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("name", GPU_PROVIDERS)
@pytest.mark.parametrize("options", [None, {"device_id": "0"}])
def test_a_provider_of_a_gpu_is_there_or_an_error(artifact, name, options, monkeypatch):
    provider = name if options is None else (name, options)
    if name in onnxruntime.get_available_providers():
        assert backend(artifact, providers=[provider]).providers[0] == name
        return
    with pytest.raises(BackendError, match=rf"{name} is not in this ONNX Runtime .*CPUExecutionProvider"):
        backend(artifact, providers=[provider])
    available = onnxruntime.get_available_providers()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [name, *available])
    with pytest.raises(BackendError, match=f"{name} did not start"):
        backend(artifact, providers=[provider, "CPUExecutionProvider"])


class Numbered:
    """A stream of msdk_rt.backends.cuda, of which only the handle is asked."""

    handle = 4711


@pytest.mark.skipif(
    GPU_PROVIDERS[0] in onnxruntime.get_available_providers(),
    reason="this ONNX Runtime has CUDA, whose absence is played here",
)
@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("stream", [None, Numbered()])
def test_a_gpu_without_our_stream_is_used_with_a_warning(artifact, stream, monkeypatch):
    """A session on the CPU, with other answers about its providers, stands for one on a GPU."""
    name, available = GPU_PROVIDERS[0], onnxruntime.get_available_providers()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [name, *available])
    monkeypatch.setattr(OnnxRuntimeBackend, "providers", property(lambda self: [name, *available]))
    reason = "CUDA says cudaError"
    if stream:
        monkeypatch.setattr(msdk_rt.backends.onnxruntime, "_stream_for", lambda providers: (stream, ""))
        reason = "the provider did not take our stream"
    with pytest.warns(RuntimeWarning, match=f"the CPU works on the volumes.*: {reason}"):
        segmenter = Segmenter(artifact, providers=[name])
    volume = np.random.default_rng(1).random((1, 9, 8, 7), np.float32)
    np.testing.assert_array_equal(
        segmenter.run(volume), Segmenter(artifact, providers=available[-1:]).run(volume)
    )


def test_providers_of_a_gpu_share_one_stream_and_compute_in_float32():
    providers = [(GPU_PROVIDERS[0], {"device_id": "1"}), *GPU_PROVIDERS[1:], "CPUExecutionProvider"]
    exact, on_stream = {"use_tf32": "0"}, {"user_compute_stream": "4711"}
    assert with_options(providers, Numbered) == [
        (GPU_PROVIDERS[0], exact | {"device_id": "1"} | on_stream),
        (GPU_PROVIDERS[1], on_stream),
        (GPU_PROVIDERS[2], on_stream | {"has_user_compute_stream": "1"}),
        "CPUExecutionProvider",
    ]
    assert with_options(providers[1:], None) == providers[1:]
    assert with_options([(GPU_PROVIDERS[0], {"use_tf32": 1})], None) == [(GPU_PROVIDERS[0], {"use_tf32": 1})]


def test_a_float16_model_keeps_its_tensor_cores():
    """ONNX Runtime takes them from float16 convolutions too where use_tf32 is 0."""
    assert with_options([GPU_PROVIDERS[0]], None, "float16") == [GPU_PROVIDERS[0]]
    asked = [(GPU_PROVIDERS[0], {"use_tf32": "0"})]
    assert with_options(asked, None, "float16") == asked


@pytest.mark.parametrize(
    ("name", "option"),
    [(GPU_PROVIDERS[0], "enable_cuda_graph"), (GPU_PROVIDERS[1], "trt_cuda_graph_enable")],
)
def test_graphs_of_onnx_runtime_are_refused(name, option):
    for on in ("1", 1, True, "True"):
        with pytest.raises(InputError, match=f"{name} cannot have {option} here"):
            with_options([(name, {option: on})], None)
    for off in ("0", 0, False, "False"):
        assert dict(with_options([(name, {option: off})], None))[name][option] is off


@pytest.mark.parametrize(
    ("providers", "entry"),
    [
        (["CPUExecutionProvider"], "msdk.cpu_ops"),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "msdk.cuda_ops"),
        ([("CUDAExecutionProvider", {"device_id": 1})], "msdk.cuda_ops"),
        (["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"], None),
        (["CUDAExecutionProvider", "OpenVINOExecutionProvider"], None),
        (["OpenVINOExecutionProvider", "CPUExecutionProvider"], None),
    ],
)
def test_kernels_of_standard_ops_are_asked_for_where_nobody_else_would_run_them(providers, entry):
    assert msdk_rt.backends.onnxruntime.stand_ins(providers) == entry


def test_a_session_may_ask_for_the_kernels_of_one_device():
    options = onnxruntime.SessionOptions()
    for entry in ("msdk.cpu_ops", "msdk.cuda_ops"):
        options.add_session_config_entry(entry, "1")
    with pytest.raises(Exception, match="expected one of them to be 1, got both"):
        options.register_custom_ops_library(str(msdk_rt.backends.libraries.ops_library()))


def test_a_session_that_asks_for_cudas_kernels_runs_on_the_cpu_too(tmp_path):
    """Where CUDA's provider gives a node to the CPU, or the library has no CUDA."""
    inputs = {"x": np.random.default_rng(4).standard_normal((2, 3, 5), np.float32)}
    inputs |= {"weight": np.ones(3, np.float32), "bias": np.zeros(3, np.float32)}
    model = attach_functions(node_model("TokenNorm", inputs, epsilon=1e-3))
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("msdk.cuda_ops", "1")
    options.register_custom_ops_library(str(msdk_rt.backends.libraries.ops_library()))
    opened = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    expected = oracle.token_norm(**inputs, epsilon=1e-3)
    np.testing.assert_allclose(opened.run(None, inputs)[0], expected, atol=1e-5)
