"""Fetches NiiVue from npm, checks its SHA-256 and packs one script of it. At run time nothing is fetched."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE, VERSION = "@niivue/niivue", "0.69.0"
SHA256 = "6e9a6a471b428eb3b258a0086beca9187d95e43a781a39e8a519c6da246af485"
SCRIPT = "niivue.umd.js"


def archive() -> Path:
    """npm's archive of the version, kept in the user's cache folder. Raises RuntimeError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "msdk_rt"
    kept = cache / f"niivue-{VERSION}.tgz"
    if not kept.exists():
        if shutil.which("npm") is None:
            raise RuntimeError(
                f"npm, which downloads {PACKAGE}, is missing: install it, or put npm's archive at {kept}"
            )
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=folder, check=True)
            (found,) = Path(folder).glob("*.tgz")
            found.replace(kept)
    actual = hashlib.sha256(kept.read_bytes()).hexdigest()
    if actual != SHA256:
        kept.unlink()
        raise RuntimeError(f"{PACKAGE}: expected SHA-256 {SHA256}, got {actual}; nothing was unpacked")
    return kept


class BuildWithNiivue(build_py):
    """build_py that puts NiiVue's script into the package, in place for an editable install."""

    def run(self):
        place = ROOT / "msdk_rt_viewer"
        with tarfile.open(archive()) as packed:
            (place / SCRIPT).write_bytes(packed.extractfile(f"package/dist/{SCRIPT}").read())
        super().run()


def version() -> str:
    """Of msdk_rt, whose checkout this folder is in: the two are released together."""
    project = (ROOT.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    (found,) = re.findall(r'^version = "(.+)"$', project, re.M)
    return found


setup(version=version(), cmdclass={"build_py": BuildWithNiivue})
