"""The specification of an op of domain `msdk`: everything about it that the exporter needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx.defs import OpSchema

from msdk_rt.artifact.ops_version import OPS_DOMAIN, OPS_VERSION

# TensorRT's ONNX parser finds a plugin by these attributes.
PLUGIN = {"plugin_version": str(OPS_VERSION), "plugin_namespace": OPS_DOMAIN}
STRING, FLOAT, INT, INTS = "STRING", "FLOAT", "INT", "INTS"  # names of onnx.defs.OpSchema.AttrType


def _untranslated(*arguments: Any) -> tuple[Sequence[Any], dict[str, Any]]:
    raise TypeError("no PyTorch op becomes this op")


@dataclass(frozen=True)
class OpSpec:
    """One op.

    inputs: in order, written 'name' (of type T), 'name:float' (always float32) or 'name?' (T, the last one,
    may be absent). attributes: their kinds, without those of a plugin. body: the op in standard ops, as ONNX
    text, for the value of the attribute `selector` ("" where none selects a body) and whether the last input
    is there. effect: of that input, a word for the body's overload. plugin: the op has a TensorRT plugin and
    a CUDA kernel, and may be in a float16 graph. halved: its float32 inputs that a GPU takes there as sums of
    two halves. torch_op: the PyTorch op that becomes it. translate: how, from the op's arguments to those of
    a node.
    """

    name: str
    inputs: Sequence[str]
    attributes: dict[str, str]
    body: Callable[[str, bool], str]
    selector: str = ""
    effect: str = ""
    plugin: bool = True
    halved: Sequence[str] = ()
    torch_op: Any = None
    translate: Callable[..., tuple[Sequence[Any], dict[str, Any]]] = field(default=_untranslated, repr=False)

    @property
    def half_inputs(self) -> tuple[int, ...]:
        """Those that are float16 in a float16 graph; the others are parameters and stay float32."""
        return tuple(i for i, word in enumerate(self.inputs) if ":" not in word) if self.plugin else ()

    @cached_property
    def schema(self) -> "OpSchema":
        """In ONNX's own terms, with the attributes of a plugin."""
        from onnx.defs import OpSchema

        kinds = self.attributes | (dict.fromkeys(PLUGIN, STRING) if self.plugin else {})
        return OpSchema(
            self.name,
            OPS_DOMAIN,
            OPS_VERSION,
            inputs=[_parameter(word) for word in self.inputs],
            outputs=[OpSchema.FormalParameter("y", "T")],
            type_constraints=[("T", ["tensor(float)", "tensor(float16)"], "feature maps")],
            attributes=[
                OpSchema.Attribute(name, getattr(OpSchema.AttrType, kind)) for name, kind in kinds.items()
            ],
        )

    def translation(self) -> Callable[..., Any]:
        """How torch.onnx.export writes a call of torch_op: one node, with every attribute explicit."""
        import onnxscript

        op = onnxscript.values.Op(onnxscript.values.Opset(OPS_DOMAIN, OPS_VERSION), self.name, self.schema)

        def node(*arguments: Any, **named: Any) -> Any:
            inputs, attributes = self.translate(*arguments, **named)
            return op(*inputs, **attributes, **PLUGIN)

        return node


def _parameter(word: str) -> "OpSchema.FormalParameter":
    from onnx.defs import OpSchema

    name, _, element = word.rstrip("?").partition(":")
    options = OpSchema.FormalParameterOption
    option = options.Optional if word.endswith("?") else options.Single
    return OpSchema.FormalParameter(name, f"tensor({element})" if element else "T", param_option=option)
