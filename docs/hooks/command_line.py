"""The reference of the command line, written from the parser's own help when the site is built."""

import argparse
import os
from unittest import mock

from msdk_rt.commands.main import parser

MARK = "<!-- the parser's help -->"
COLUMNS = "88"  # what a code block of the site shows without scrolling


def on_page_markdown(markdown, *, page, config, files):
    """mkdocs calls this with the text of each page."""
    return markdown.replace(MARK, help_of(parser())) if MARK in markdown else markdown


def help_of(top: argparse.ArgumentParser) -> str:
    """A section for msdk-rt and one for each of its commands."""
    with mock.patch.dict(os.environ, COLUMNS=COLUMNS, NO_COLOR="1"):
        return "\n".join(_section(parser) for parser in [top, *commands(top).values()])


def commands(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands by name."""
    found = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices)


def _section(parser: argparse.ArgumentParser) -> str:
    return f"## {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```\n"
