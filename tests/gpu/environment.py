"""The software of the machine, and commands run on it."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version


def run(command: list) -> str:
    """The command's output. Raises RuntimeError with its end where it fails."""
    words = [str(part) for part in command]
    done = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} exited with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def software(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of Python and of the packages, by name."""
    found = {name: installed(name) for name in packages}
    return {"machine": platform.platform(), "python": platform.python_version(), **found}


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
