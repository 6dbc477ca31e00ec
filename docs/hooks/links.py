"""Links that leave docs/ for the repository, which the site does not hold.

A page links to a file of the repository by a relative path, which works wherever the repository is browsed.
On the site the link goes to `repo_url` where mkdocs.yml sets one; without it the text stays and the path
follows in code.
"""

import posixpath
import re
from pathlib import Path

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_page_markdown(markdown, *, page, config, files):
    """mkdocs calls this with the text of each page."""
    folder = posixpath.dirname(page.file.src_uri)
    root = Path(config.config_file_path).parent

    def outside(match: re.Match) -> str:
        target = match["target"]
        if ":" in target or target.startswith("/"):
            return match[0]
        path = posixpath.normpath(posixpath.join("docs", folder, target))
        if path.startswith("docs/"):
            return match[0]
        if not (root / path).exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {path}, which is not in the repository")
        if config.repo_url:
            return f"[{match['text']}]({config.repo_url.rstrip('/')}/blob/main/{path}{match['anchor'] or ''})"
        return f"`{path}`" if path.endswith(match["text"].strip("`")) else f"{match['text']} (`{path}`)"

    parts = FENCE.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(outside, part) for part in parts)
