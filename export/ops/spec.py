"""The specification of an op of domain `msdk`: everything about it that the exporter needs."""

from collections.abc import Callable, Collection, Mapping, Sequence
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

    inputs: in order, written 'name' (of type T), 'name:float' (always float32) or 'name?' (may be absent, as
    all behind it then are). attributes: their kinds, without those of a plugin. body: the op in standard ops,
    as ONNX text, for the value of the attribute `selector` ("" where none selects a body) and the names of
    the inputs and outputs that are there. effects: of those that may be absent, by name, a word for the
    body's overload. outputs: written like the inputs. plugin: the op has a TensorRT plugin and
    a CUDA kernel, and may be in a float16 graph. halved: its float32 inputs that a GPU takes there as sums of
    two halves. torch_op: the PyTorch op that becomes it. translate: how, from the op's arguments to those of
    a node.
    """

    name: str
    inputs: Sequence[str]
    attributes: dict[str, str]
    body: Callable[[str, Collection[str]], str]
    selector: str = ""
    effects: Mapping[str, str] = field(default_factory=dict)
    outputs: Sequence[str] = ("y",)
    plugin: bool = True
    halved: Sequence[str] = ()
    torch_op: Any = None
    translate: Callable[..., tuple[Sequence[Any], dict[str, Any]]] = field(default=_untranslated, repr=False)

    @property
    def half_inputs(self) -> tuple[int, ...]:
        """Those that are float16 in a float16 graph; the others are parameters and stay float32."""
        return tuple(i for i, word in enumerate(self.inputs) if ":" not in word) if self.plugin else ()

    def given(self, inputs: Sequence[str], outputs: Sequence[str]) -> list[str]:
        """The names, in order, of the inputs and outputs that a node with these values has."""
        pairs = [*zip(self.inputs, inputs, strict=False), *zip(self.outputs, outputs, strict=False)]
        return [_name_of(word) for word, value in pairs if value]

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
            outputs=[_parameter(word) for word in self.outputs],
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


def _name_of(word: str) -> str:
    return word.rstrip("?").partition(":")[0]


def _parameter(word: str) -> "OpSchema.FormalParameter":
    from onnx.defs import OpSchema

    _, _, element = word.rstrip("?").partition(":")
    options = OpSchema.FormalParameterOption
    option = options.Optional if word.endswith("?") else options.Single
    kind = f"tensor({element})" if element else "T"
    return OpSchema.FormalParameter(_name_of(word), kind, param_option=option)
