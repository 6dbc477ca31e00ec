"""PTX's fundamental types, and the C++ types that stand for them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Type:
    """`cpp`: float16 is its bits, until an instruction converts it."""

    name: str
    cpp: str
    bytes: int

    @property
    def is_float(self) -> bool:
        return self.name[0] == "f"


TYPES = {
    name: Type(name, cpp, size)
    for names, cpp, size in (
        ("pred", "bool", 1),
        ("b8 u8", "uint8_t", 1),
        ("s8", "int8_t", 1),
        ("b16 u16 f16", "uint16_t", 2),
        ("s16", "int16_t", 2),
        ("b32 u32", "uint32_t", 4),
        ("s32", "int32_t", 4),
        ("f32", "float", 4),
        ("b64 u64", "uint64_t", 8),
        ("s64", "int64_t", 8),
        ("f64", "double", 8),
    )
    for name in names.split()
}
WIDE = {"s16": "s32", "u16": "u32", "s32": "s64", "u32": "u64"}  # of mul.wide: the type of the result
