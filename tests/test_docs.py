"""The pages name only links, make targets, options and entries that exist, and README stays short."""

import dataclasses
import re
from pathlib import Path

import pytest

from docs.hooks.command_line import commands, help_of
from msdk_rt.artifact.engine_entry import PLUGIN_VERSION
from msdk_rt.artifact.manifest import SEAL, Manifest
from msdk_rt.commands.main import parser
from tests.support.small_model import ENGINE

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "export", "plugins", "tests", "benchmarks", ".github")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
README_WORDS = 900
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.*)$", re.MULTILINE)
CODE = re.compile(r"^(?:    |>     ).*$|`[^`\n]+`", re.MULTILINE)


def named(page):
    return str(page.relative_to(ROOT))


def code_of(text):
    """The lines of fenced blocks, of indented blocks and of code in text; a continued line is one."""
    fenced = FENCE.findall(text)
    rest = FENCE.sub("", text)
    found = [match.strip("` ") for match in CODE.findall(rest.replace("\\\n", " "))]
    return [line for block in [*fenced, *found] for line in block.replace("\\\n", " ").splitlines()]


def anchors_of(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    titles = (match["title"] for match in HEADING.finditer(FENCE.sub("", page.read_text())))
    return {re.sub(r"[^\w\s-]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_readme_is_short_and_says_once_what_never_ran():
    text = (ROOT / "README.md").read_text()
    words = len(text.split())
    assert words <= README_WORDS, f"README has {words} words"
    assert len(re.findall(r"never\s+(?:been\s+)?run", text, re.IGNORECASE)) <= 1
    assert text.count("```python") == 1
    assert "docs/status.md" in text


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text())
    for match in LINK.finditer(text):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), f"{match[0]} leads to {target}, which does not exist"
        if anchor and place.suffix == ".md" and ":::" not in place.read_text():
            assert anchor in anchors_of(place), f"{match[0]}: {target} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in code_of(page.read_text()):
        if match := re.match(r"(?:\$ )?make((?: [a-z][\w-]*)+)(?=\s*$|\s{2,}|\s*#)", line.strip()):
            for target in match[1].split():
                assert target in targets, f"make {target} is no target of the Makefile: {line.strip()}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_their_options_exist(page):
    known = {
        name: {option for action in command._actions for option in action.option_strings}
        for name, command in commands(parser()).items()
    }
    for line in code_of(page.read_text()):
        if match := re.search(r"(?<![\w./-])(?:[\w./-]*/)?msdk-rt ([a-z]+)\b(?P<rest>[^#|>`]*)", line):
            assert match[1] in known, f"msdk-rt {match[1]} is no command: {line.strip()}"
            for option in re.findall(r"(?<=\s)(--[a-z][\w-]*|-[a-z])(?=[\s=]|$)", match["rest"]):
                assert option in known[match[1]], f"msdk-rt {match[1]} has no {option}: {line.strip()}"


def test_lone_options_belong_to_some_command():
    """An option that a page names by itself, in code, is one of ours, or pip's or trtexec's."""
    ours = {o for c in commands(parser()).values() for action in c._actions for o in action.option_strings}
    of_pip, of_trtexec = {"--python-version", "--only-binary"}, {"--dynamicPlugins", "--staticPlugins"}
    for page in PAGES:
        for text in re.findall(r"`(--[\w-]+)[^`]*`", FENCE.sub("", page.read_text())):
            assert text in ours | of_pip | of_trtexec, f"{named(page)} names {text}"


def test_the_manifest_page_has_every_entry():
    text = (ROOT / "docs" / "reference" / "manifest.md").read_text()
    entries = {field.name for field in dataclasses.fields(Manifest)} | {SEAL} | ENGINE.keys()
    assert {name for name in entries if f"| `{name}`" not in text} == set()
    assert PLUGIN_VERSION == "1"  # the page of the ops says version 1


def test_the_reference_of_the_command_line_is_the_parsers_help():
    text = help_of(parser())
    for name, command in commands(parser()).items():
        assert f"## msdk-rt {name}\n" in text
        for action in command._actions:
            assert all(option in text for option in action.option_strings)
