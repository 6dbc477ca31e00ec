"""The version is written in pyproject.toml; CITATION.cff repeats it, all else reads it."""

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

import msdk_rt
from tests.release import check

ROOT = Path(__file__).resolve().parents[2]
# What was measured, locked or released has versions of its time.
OTHERS = re.compile(r"\.csv$|^requirements-|^CHANGELOG\.md$")


def test_the_version_is_the_same_everywhere():
    assert check.check_words() == msdk_rt.__version__ == version("msdk_rt_viewer")


def test_the_version_is_written_in_no_other_file():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    places = [name for name in tracked.stdout.splitlines() if not OTHERS.search(name)]
    number = re.escape(msdk_rt.__version__)
    word = re.compile(rf"msdk_rt\w*(-|==){number}\b|^\W*version\W+{number}\b", re.M | re.I)
    found = [name for name in places if word.search((ROOT / name).read_text("utf-8", errors="ignore"))]
    assert found == ["CITATION.cff", "pyproject.toml"]


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("CITATION.cff", "\nversion: ", "\nversion: 9", "pyproject.toml says"),
        ("CHANGELOG.md", "## Unreleased", "## 0.0.9 - 2020-01-01", "CHANGELOG's first heading is"),
        ("CHANGELOG.md", "\n- ", "\n", "CHANGELOG has no entry below"),
    ],
)
def test_a_version_that_differs_is_refused(tmp_path, monkeypatch, file, old, new, words):
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md"):
        text = (ROOT / name).read_text("utf-8")
        if name == file:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.setattr(check, "ROOT", tmp_path)
    with pytest.raises(check.Refused, match=words):
        check.check_words()
