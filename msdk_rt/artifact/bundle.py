"""model.msdk: a model in one file. A zip of the artifact, its manifest, a licence, a card and a sample image.

Every member is stored as it is, and SHA256SUMS lists each. It is opened as strictly as the two files side by
side: only known names, no compression, each member whole; then the pair is checked as always.
"""

import contextlib
import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from msdk_rt.artifact.files import atomic_write, file_at, private_folder
from msdk_rt.artifact.manifest import Manifest, manifest_path, read_manifest
from msdk_rt.errors import ArtifactError, InputError, OutputError, shown

SUFFIX = ".msdk"
SUMS, CARD, LICENCE = "SHA256SUMS", "CARD.md", "LICENSE"
MODELS = ("model.onnx", "model.engine")
SAMPLE = re.compile(r"sample_\d{4}\.nii(\.gz)?")
MOST_TEXT_BYTES = 1 << 20
MOST_MEMBERS = 64
BLOCK = 1 << 20
DATE = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes


def is_bundle(path: Path) -> bool:
    """Whether the name is that of a model in one file."""
    return path.suffix.lower() == SUFFIX


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The path of the artifact, its manifest beside it: of a bundle in a private folder, for the block.

    Any other path is passed on. Raises ArtifactError for what is no whole bundle.
    """
    if not is_bundle(path):
        yield path
        return
    try:
        with _opened(path) as (archive, sums), private_folder() as private:
            folder = private / "model"  # the other one is locked as long as it is there
            folder.mkdir()
            model = _model_of(sums, path)
            for name in sums:
                wanted = folder / name if name in (model, f"{model}.json") else None
                _copy(archive, name, sums[name], path, wanted)
            yield folder / model
    except OSError as error:
        raise ArtifactError(f"cannot unpack {path}: {error.strerror or error}") from error


def manifest_of(path: Path) -> Manifest:
    """The manifest of an artifact, or of the one in a bundle. Raises ArtifactError."""
    with unpacked(path) as artifact:
        return read_manifest(artifact)


def texts_of(path: Path) -> dict[str, str]:
    """The bundle's {"CARD.md": text, "LICENSE": text}, as far as it has them. Raises ArtifactError."""
    with _opened(path) as (archive, sums):
        return {
            name: b"".join(_blocks(archive, name, sums[name], path)).decode("utf-8", "replace")
            for name in (CARD, LICENCE)
            if name in sums
        }


def write_bundle(artifact: Path, path: Path, texts: Mapping[str, str], samples: Sequence[Path] = ()) -> None:
    """Write an artifact, which is checked first, with its manifest as the bundle `path`, whole or not at all.

    texts: of CARD.md and LICENSE. samples: one image per channel. Raises ArtifactError, InputError,
    OutputError.
    """
    read_manifest(artifact)
    name = f"model{artifact.suffix}"
    files: dict[str, Path | bytes] = {name: artifact, f"{name}.json": manifest_path(artifact)}
    for text, content in texts.items():
        if len(content.encode()) > MOST_TEXT_BYTES:
            raise InputError(f"{text} has more than {MOST_TEXT_BYTES} bytes: shorten it")
        files[text] = content.encode()
    for index, sample in enumerate(samples):
        suffix = ".nii.gz" if sample.name.lower().endswith(".gz") else ".nii"
        files[f"sample_{index:04d}{suffix}"] = sample
    try:
        with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            sums = {member: _add(archive, member, content) for member, content in files.items()}
            listed = "".join(f"{digest}  {member}\n" for member, digest in sums.items())
            _add(archive, SUMS, listed.encode())
    except OutputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror or error}") from error


def _add(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> str:
    """Returns the SHA-256 of what was added."""
    digest = hashlib.sha256()
    with archive.open(zipfile.ZipInfo(name, DATE), "w", force_zip64=True) as member:
        for block in [content] if isinstance(content, bytes) else _blocks_of(content):
            digest.update(block)
            member.write(block)
    return digest.hexdigest()


def _blocks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, str]]]:
    """The archive, whose list of members is sound, and {member: SHA-256}. Raises ArtifactError."""
    path = file_at(path, ArtifactError, f"no model at {path}: expected a file written by msdk-rt export")
    with contextlib.ExitStack() as held:
        try:
            archive = held.enter_context(zipfile.ZipFile(path))
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise ArtifactError(
                f"{path} is no whole .msdk file ({error}): it was truncated or damaged, copy it again"
            ) from error
        _check_members(archive.infolist(), path)
        yield archive, _sums(archive, path)


def _check_members(members: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """Raise ArtifactError unless they are known, stored, each once, and no larger than the file itself."""
    names = [member.filename for member in members]
    foreign = [name for name in names if not _known(name)]
    if foreign or len(names) > MOST_MEMBERS:
        what = shown(foreign[0]) if foreign else f"{len(names)} members"
        raise ArtifactError(f"{path} holds {what}, which no msdk-rt export put there: get the model again")
    if len(set(names)) < len(names) or SUMS not in names:
        raise ArtifactError(f"{path} holds a member twice, or lacks {SUMS}: get the model again")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise ArtifactError(
                f"{path} holds {member.filename} compressed or encrypted, expected it stored: get the model "
                "again, and do not pack it again"
            )
        if member.filename in (SUMS, CARD, LICENCE) and member.file_size > MOST_TEXT_BYTES:
            raise ArtifactError(
                f"{path}: {member.filename} has {member.file_size} bytes, expected at most {MOST_TEXT_BYTES}"
            )
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ArtifactError(f"{path} says that it holds more than it is long: get the model again")


def _known(name: str) -> bool:
    fixed = (SUMS, CARD, LICENCE, *MODELS, *(f"{model}.json" for model in MODELS))
    return name in fixed or SAMPLE.fullmatch(name) is not None


def _sums(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """{member: its SHA-256}, of all but the list itself. Raises ArtifactError."""
    text = b"".join(_blocks(archive, SUMS, None, path)).decode("ascii", "replace")
    rows = re.findall(r"^([0-9a-f]{64})  (\S+)$", text, re.MULTILINE)
    sums = {name: digest for digest, name in rows}
    if len(rows) != text.count("\n") or set(sums) != set(archive.namelist()) - {SUMS}:
        raise ArtifactError(f"{path}: {SUMS} does not list what it holds: get the model again")
    return sums


def _model_of(sums: Mapping[str, str], path: Path) -> str:
    found = [name for name in MODELS if name in sums and f"{name}.json" in sums]
    if len(found) != 1 or sum(name.startswith("model") for name in sums) != 2:
        raise ArtifactError(f"{path} must hold one of {', '.join(MODELS)} and its manifest: export it again")
    return found[0]


def _copy(archive: zipfile.ZipFile, name: str, digest: str, path: Path, target: Path | None) -> None:
    """Check a member, and write it to `target` if there is one."""
    with contextlib.ExitStack() as held:
        file: IO[bytes] | None = held.enter_context(target.open("xb")) if target else None
        for block in _blocks(archive, name, digest, path):
            if file:
                file.write(block)


def _blocks(archive: zipfile.ZipFile, name: str, digest: str | None, path: Path) -> Iterator[bytes]:
    """A member's bytes. Raises ArtifactError where they are not those that were written."""
    found = hashlib.sha256()
    try:
        with archive.open(name) as member:
            while block := member.read(BLOCK):
                found.update(block)
                yield block
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ArtifactError(f"{path}: {name} is damaged ({error}): copy the file again") from error
    if digest is not None and found.hexdigest() != digest:
        raise ArtifactError(
            f"{path}: {name} is not the file that {SUMS} lists: expected SHA-256 {digest}, found "
            f"{found.hexdigest()}. It was edited; get the model again"
        )
