"""The workflows of GitHub, which run nowhere else: what they call exists, and what they may do is little."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def jobs(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def steps(path):
    return [step for job in jobs(path).values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path):
    lines = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[\d.]+", line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_make_target_exists(path):
    targets = {
        word
        for step in steps(path)
        for word in re.findall(r"^make ([\w-]+)", step.get("run", ""), re.M)
        if word != "TARGET"
    }
    for job in jobs(path).values():
        targets |= set(job.get("strategy", {}).get("matrix", {}).get("target", []))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets
    assert {name for name in targets if not re.search(rf"^{name}:", makefile, re.M)} == set()


def test_only_publishing_gets_a_token_and_it_runs_no_code_of_ours():
    found = jobs(ROOT / ".github" / "workflows" / "publish.yml")
    assert found["build"]["permissions"] == {"contents": "read"}
    assert found["publish"]["permissions"] == {"id-token": "write"}
    assert found["publish"]["needs"] == "build"
    assert found["publish"]["environment"]["name"] == "pypi"
    assert [step for step in found["publish"]["steps"] if "run" in step] == []
    assert found["publish"]["steps"][-1]["with"]["attestations"] is True
