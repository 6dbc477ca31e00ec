"""Checkpoints: C01 and on."""

import json
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from tests.attacks.corpus import EXPORT, Series

SERIES = Series("C", EXPORT, "weights.safetensors")
attack = SERIES.attack
PT = "weights.pt"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "weights.safetensors")


def rewrite(folder: Path, change) -> None:
    """Replace the safetensors header by change(header), a dict or the bytes of one; the tensors stay."""
    path = folder / "weights.safetensors"
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    changed = change(json.loads(content[8 : 8 + size]))
    header = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + size :])


def first(header: dict) -> dict:
    return next(entry for name, entry in header.items() if name != "__metadata__")


def described(folder: Path, **changes) -> None:
    """Other values in the description that the file carries."""

    def change(header):
        header["__metadata__"]["msdk"] = json.dumps(json.loads(header["__metadata__"]["msdk"]) | changes)
        return header

    rewrite(folder, change)


class Harm:
    def __reduce__(self):
        return eval, ("open('harm', 'w')",)


@attack("The pickle runs code when loaded.", "CheckpointError", PT)
def _(folder):
    torch.save({"state_dict": weights(folder), "extra": Harm()}, folder / PT)


@attack("The pickle of the old format, without a zip around it, runs code.", "CheckpointError", PT)
def _(folder):
    torch.save(
        {"state_dict": weights(folder), "extra": Harm()}, folder / PT, _use_new_zipfile_serialization=False
    )


@attack("A bare pickle runs code.", "CheckpointError", PT)
def _(folder):
    (folder / PT).write_bytes(pickle.dumps(Harm()))


@attack("The zip is cut short.", "CheckpointError", PT)
def _(folder):
    torch.save(weights(folder), folder / PT)
    content = (folder / PT).read_bytes()
    (folder / PT).write_bytes(content[: len(content) * 2 // 3])


def bomb(path: Path, member: str, size: int) -> None:
    """The checkpoint again, one member replaced by zeros that compress a thousandfold."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            if name.endswith(member):
                with archive.open(name, "w", force_zip64=True) as file:
                    for _ in range(size >> 24):
                        file.write(bytes(1 << 24))
            else:
                archive.writestr(name, content)


@attack("A tensor of the zip unpacks to 640 MB of zeros.", "CheckpointError", PT)
def _(folder):
    torch.save(weights(folder), folder / PT)
    bomb(folder / PT, "data/0", 640 << 20)


@attack("The pickle in the zip unpacks to 640 MB of zeros.", "CheckpointError", PT)
def _(folder):
    torch.save(weights(folder), folder / PT)
    bomb(folder / PT, "data.pkl", 640 << 20)


@attack("A tensor of 1 kB says that it has 2^40 elements by strides of 0.", "CheckpointError", PT)
def _(folder):
    state = weights(folder)
    name = next(name for name in state if state[name].dim() == 1)
    torch.save(state | {name: torch.zeros(1).expand(1 << 40)}, folder / PT)


@attack("Tensors lie on another device.", "CheckpointError", PT)
def _(folder):
    torch.save({name: tensor.to("meta") for name, tensor in weights(folder).items()}, folder / PT)


@attack("Weights are sparse.", "CheckpointError", PT)
def _(folder):
    torch.save({name: tensor.to_sparse() for name, tensor in weights(folder).items()}, folder / PT)


@attack("Weights are quantised.", "CheckpointError", PT)
def _(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but files hold it
        state = {n: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8) for n, t in weights(folder).items()}
    torch.save(state, folder / PT)


@attack("Weights are complex.", "CheckpointError", PT)
def _(folder):
    torch.save({name: tensor + 1j for name, tensor in weights(folder).items()}, folder / PT)


@attack("Weights are integers.", "CheckpointError", PT)
def _(folder):
    torch.save({name: tensor.to(torch.int32) for name, tensor in weights(folder).items()}, folder / PT)


@attack("The dict of weights holds itself.", "CheckpointError", PT)
def _(folder):
    state: dict = {}
    state["state_dict"] = state
    torch.save(state, folder / PT)


@attack("One weight is NaN.", "CheckpointError")
def _(folder):
    state = weights(folder)
    next(iter(state.values())).view(-1)[0] = torch.nan
    metadata = {"msdk": safetensors.safe_open(folder / "weights.safetensors", "pt").metadata()["msdk"]}
    safetensors.torch.save_file(state, folder / "weights.safetensors", metadata)


@attack("The header says that it is 2^63 bytes long.", "CheckpointError")
def _(folder):
    content = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(struct.pack("<Q", 1 << 63) + content[8:])


@attack("The header is 110 MB of spaces.", "CheckpointError")
def _(folder):
    rewrite(folder, lambda header: json.dumps(header).encode() + b" " * (110 << 20))


@attack("The header says 2^60 elements.", "CheckpointError")
def _(folder):
    def change(header):
        first(header)["shape"] = [1 << 60]
        return header

    rewrite(folder, change)


@attack("The header has a shape whose product is its true size modulo 2^64.", "CheckpointError")
def _(folder):
    def change(header):
        entry = first(header)
        entry["shape"] = [(1 << 62) + int(np.prod(entry["shape"])), 4]
        return header

    rewrite(folder, change)


@attack("Two tensors share bytes.", "CheckpointError")
def _(folder):
    def change(header):
        names = [name for name in header if name != "__metadata__"]
        header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]
        return header

    rewrite(folder, change)


@attack("A tensor ends before it begins.", "CheckpointError")
def _(folder):
    def change(header):
        first(header)["data_offsets"].reverse()
        return header

    rewrite(folder, change)


@attack("A key comes twice, with other bytes.", "CheckpointError")
def _(folder):
    def change(header):
        name, entry = next((name, entry) for name, entry in header.items() if name != "__metadata__")
        text = json.dumps(header)
        return (text[:-1] + ", " + json.dumps({name: entry})[1:]).encode()

    rewrite(folder, change)


@attack("The header is nested 100,000 deep.", "CheckpointError")
def _(folder):
    rewrite(folder, lambda header: b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@attack("The description is nested 100,000 deep.", "CheckpointError")
def _(folder):
    def change(header):
        header["__metadata__"]["msdk"] = "[" * 100_000
        return header

    rewrite(folder, change)


@attack("The description names a network of 2^31 channels.", "CheckpointError")
def _(folder):
    described(folder, config={"in_channels": 1, "num_classes": 2, "dims": [1 << 31, 8], "depths": [1, 1]})


@attack("The description names a network of a million blocks.", "CheckpointError")
def _(folder):
    described(folder, config={"in_channels": 1, "num_classes": 2, "dims": [6, 8], "depths": [1_000_000, 1]})


@attack("The description names a network of 100,000 stages.", "CheckpointError")
def _(folder):
    config = {"in_channels": 1, "num_classes": 2, "dims": [4] * 100_000, "depths": [1] * 100_000}
    described(folder, config=config)


@attack("The description names 100,000 classes.", "CheckpointError")
def _(folder):
    described(folder, config={"in_channels": 1, "num_classes": 100_000, "dims": [6, 8], "depths": [1, 1]})


@attack("The description's config is of another family.", "CheckpointError")
def _(folder):
    described(folder, family="segmamba")


@attack("The description's directions are 2^20 names.", "CheckpointError")
def _(folder):
    described(
        folder, config={"dims": [6, 8], "depths": [1, 1], "directions": ",".join(["forward"] * (1 << 20))}
    )


@attack("The description's directions count tokens past 2^63.", "CheckpointError")
def _(folder):
    described(folder, config={"dims": [6, 8], "depths": [1, 1], "directions": f"slices:{1 << 63}"})


@attack("The file is a sparse hole of 1 TB.", "CheckpointError")
def _(folder):
    with open(folder / "weights.safetensors", "wb") as file:
        file.truncate(1 << 40)


@attack("The file is a link to an endless device.", "CheckpointError")
def _(folder):
    (folder / "weights.safetensors").unlink()
    (folder / "weights.safetensors").symlink_to("/dev/zero")


@attack("The weights' names are 1 MB long each.", "CheckpointError", PT)
def _(folder):
    torch.save({f"{index}" * (1 << 20): torch.zeros(1) for index in range(9)}, folder / PT)


class Forged:
    """Pickled as a call of the named function with these arguments, as a hostile file would have it."""

    def __init__(self, name: str, *arguments: object):
        self.name, self.arguments = name, arguments


def forge(path: Path, state: dict, forged: Forged) -> None:
    """A checkpoint whose entry `extra` is a call of a function, in torch.save's own format."""
    module, _, name = forged.name.rpartition(".")
    torch.save(state | {"extra": "REPLACED"}, path)
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    (pickled,) = [member for member in members if member.endswith("/data.pkl")]
    arguments = pickle.dumps(forged.arguments, protocol=2)[2:-1]
    call = b"c" + module.encode() + b"\n" + name.encode() + b"\n" + arguments + b"R"
    placed = b"X\x08\x00\x00\x00REPLACED"
    assert members[pickled].count(placed) == 1
    members[pickled] = members[pickled].replace(placed, call)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


@attack("NumPy's loader of pickles is called.", "CheckpointError", PT)
def _(folder):
    forge(folder / PT, {"state_dict": weights(folder)}, Forged("numpy.load", "weights.safetensors"))


@attack("Keys are nested in one another a hundred times.", "CheckpointError", PT)
def _(folder):
    content: dict = weights(folder)
    for _ in range(100):
        content = {"model": content}
    torch.save(content, folder / PT)


@attack("Ten thousand names of no network, each behind another prefix.", "CheckpointError", PT)
def _(folder):
    torch.save({f"p{index}.model.x": torch.zeros(1) for index in range(10_000)}, folder / PT)
