"""qc.html: one page that needs nothing else, with every case's picture, volumes and warnings."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Protocol

from msdk_rt.cohort.volumes import MOST_DEVIATIONS
from msdk_rt.imaging.overlay import PALETTE
from msdk_rt.imaging.picture import SIDE

HTML_START = "<!doctype html>\n<!-- msdk-rt -->\n"
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; background: Canvas; color: CanvasText; }
table { border-collapse: collapse; margin: 0 0 2rem; }
caption { text-align: left; font-weight: 600; font-size: 1.15rem; padding: .5rem 0; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid color-mix(in srgb, CanvasText 20%, Canvas);
  text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: Canvas; white-space: nowrap; }
tbody th { min-width: 8rem; max-width: 20rem; overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.flag { background: color-mix(in srgb, #D55E00 28%, Canvas); font-weight: 600; }
.failed th { border-left: 4px solid #D55E00; }
button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: .2rem 0;
  cursor: pointer; }
button:focus-visible { outline: 3px solid #0072B2; outline-offset: 2px; }
button::after { content: " \\2195"; opacity: .45; }
[aria-sort] button::after { opacity: 1; }
[aria-sort=ascending] button::after { content: " \\2191"; }
[aria-sort=descending] button::after { content: " \\2193"; }
img { display: block; background: #000; }
.key span { display: inline-block; width: .9em; height: .9em; margin: 0 .35em 0 1em; }
.words { max-width: 26rem; }
"""
SCRIPT = """
for (const button of document.querySelectorAll("thead button")) button.addEventListener("click", () => {
  const head = button.closest("th"), body = head.closest("table").tBodies[0], column = head.cellIndex;
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent;
  const order = new Intl.Collator(undefined, {numeric: true}).compare;
  const compare = head.dataset.kind === "number" ? (a, b) => a - b : order;
  const rows = [...body.rows].map(row => [key(row), row]);
  rows.sort((a, b) => (up ? 1 : -1) * compare(a[0], b[0]));
  body.append(...rows.map(pair => pair[1]));
});
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Shown(Protocol):
    """A row; see msdk_rt.cohort.report.Line."""

    name: str
    error: str
    record: dict[str, Any]
    outliers: dict[str, float]
    picture: Path | None

    def warnings(self) -> list[str]: ...


def page(lines: Sequence[Shown], labels: Mapping[str, int]) -> Iterator[str]:
    """The page, piece by piece: first what has no result, then `lines` in their order."""
    shown = [label for label, value in labels.items() if value != 0]
    failed = [line for line in lines if line.error]
    done = [line for line in lines if not line.error]
    flagged = sum(bool(line.outliers) for line in done)
    yield HTML_START
    yield f"""<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>Segmentations: {len(done)} done, {len(failed)} not</title><style>{STYLE}</style></head><body><main>
<h1>Segmentations</h1>
<p>{len(done)} segmented, {len(failed)} without a result, {flagged} with a volume that stands out: more than
{MOST_DEVIATIONS} deviations (by the median absolute one) from the cohort's median.</p>
"""
    if failed:
        yield from _failures(failed)
    yield f'<p class="key">Colours:{_key(shown)}. Planes: axial, coronal, sagittal, each where the '
    yield "colours have the largest shares of their voxels; right and front are on the right.</p>\n"
    yield from _results(done, shown)
    yield f"</main><script>{SCRIPT}</script></body></html>\n"


def _failures(lines: Sequence[Shown]) -> Iterator[str]:
    yield "<table><caption>Without a result</caption><thead><tr>"
    yield _head("Case or file") + _head("Reason") + "</tr></thead><tbody>\n"
    for line in lines:
        yield f'<tr class="failed"><th scope="row">{escape(line.name)}</th>'
        yield f"<td>{escape(line.error)}</td></tr>\n"
    yield "</tbody></table>\n"


def _results(lines: Sequence[Shown], labels: Sequence[str]) -> Iterator[str]:
    yield "<table><caption>Results</caption><thead><tr>" + _head("Case")
    yield "".join(_head(f"{label}, ml", "number") for label in labels)
    yield _head("Spacing, mm") + _head("Warnings") + '<th scope="col">Picture</th></tr></thead><tbody>\n'
    for line in lines:
        yield f'<tr><th scope="row">{escape(line.name)}</th>'
        for label in labels:
            ml = line.record["labels"][label]["ml"]
            flag = " flag" if label in line.outliers else ""
            yield f'<td class="number{flag}" data-key="{ml}">{ml:,.2f}</td>'
        spacing = " × ".join(f"{side:g}" for side in line.record["spacing_mm"])
        warned = "<br>".join(map(escape, line.warnings()))
        yield f'<td>{spacing}</td><td class="words">{warned}</td><td>{_picture(line)}</td></tr>\n'
    yield "</tbody></table>\n"


def _head(text: str, kind: str = "text") -> str:
    return f'<th scope="col" data-kind="{kind}"><button type="button">{escape(text)}</button></th>'


def _key(labels: Sequence[str]) -> str:
    return ",".join(
        f'<span style="background:{PALETTE[index % len(PALETTE)]}"></span>{escape(label)}'
        for index, label in enumerate(labels)
    )


def _picture(line: Shown) -> str:
    try:
        content = line.picture.read_bytes() if line.picture else b""
    except OSError:
        content = b""
    if not content:
        return "no picture"
    data = base64.b64encode(content).decode()
    size = f'width="{3 * SIDE}" height="{SIDE}"'
    alt = f"Labels of {escape(line.name)} over its image in three planes"
    return f'<img {size} loading="lazy" decoding="async" alt="{alt}" src="data:image/png;base64,{data}">'
