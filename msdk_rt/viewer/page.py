"""The page of `msdk-rt view`: one file that needs nothing else, or the page of a server."""

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from importlib.resources import files
from typing import Any

from msdk_rt.errors import BackendError
from msdk_rt.viewer.subject import Label, Subject

# Nothing from elsewhere: NiiVue's own font and colours are data: and blob: addresses.
POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; worker-src blob:; "
    "script-src 'unsafe-inline'; connect-src {connect}"
)
KEYS = (
    ("1 to 5", "all views, axial, coronal, sagittal, 3D"),
    ("arrows", "cross-hair left, right, front, back"),
    ("Page Up, Page Down", "cross-hair to the top, to the bottom"),
    ("+ and -", "opacity of the labels"),
    ("l", "all labels on or off"),
    ("x", "cross-hair on or off"),
)


def niivue() -> str:
    """NiiVue's script. Raises BackendError where its package is not installed."""
    try:
        import msdk_rt_viewer
    except ModuleNotFoundError as error:
        raise BackendError(
            "the viewer needs msdk_rt_viewer, which is not installed: pip install 'msdk_rt[view]'"
        ) from error
    script: str = msdk_rt_viewer.SCRIPT.read_text(encoding="utf-8")
    return script


def page_in_one_file(subject: Subject) -> Iterator[str]:
    """The page with the volumes in it, piece by piece."""
    image = {"base64": base64.b64encode(subject.image).decode()}
    labels = {"base64": base64.b64encode(subject.labels).decode()} if subject.labels else None
    yield from _page(subject, {"image": image, "labels": labels}, "data: blob:")


def page_of_server(subject: Subject, alive: bool = True) -> Iterator[str]:
    """The page that asks its server for `image` and `labels`; alive: and keeps `alive` open while it is
    shown.
    """
    places = {
        "image": {"path": "image"},
        "labels": {"path": "labels"} if subject.labels else None,
        "alive": "alive" if alive else None,
    }
    yield from _page(subject, places, "'self' data: blob:")


def _page(subject: Subject, places: dict[str, Any], connect: str) -> Iterator[str]:
    own = files("msdk_rt.viewer")
    policy = POLICY.format(connect=connect)
    about = {
        "title": subject.title,
        "step": subject.step,
        "table": [asdict(label) for label in subject.table],
        **places,
    }
    yield f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(subject.title)}</title><style>{own.joinpath("style.css").read_text("utf-8")}</style></head>
<body><main id="picture"><canvas id="canvas" tabindex="0" aria-label="The volume in three planes;
arrows move the cross-hair"></canvas><p id="status" role="status">Loading the volume</p></main>
<aside><h1>{escape(subject.title)}</h1><p id="place" role="status" aria-label="Place of the cross-hair"></p>
{_controls(bool(subject.labels))}{_table(subject.table)}{_keys()}</aside>
<script>
"""
    yield niivue().replace("</script", "<\\/script")
    yield "\n</script><script>\nconst SUBJECT = "
    yield json.dumps(about).replace("<", "\\u003c")
    yield f";\n{own.joinpath('script.js').read_text('utf-8')}</script></body></html>\n"


def _controls(has_labels: bool) -> str:
    views = "".join(
        f'<button type="button" data-view="{name}" aria-pressed="false">{name}</button> '
        for name in ("all", "axial", "coronal", "sagittal", "3D")
    )
    hidden = "" if has_labels else " hidden"
    return f"""<fieldset><legend>View</legend>{views}</fieldset>
<fieldset{hidden}><legend><label for="opacity">Opacity of the labels</label></legend>
<input id="opacity" type="range" min="0" max="1" step="0.05" value="0.5">
<span id="percent"></span></fieldset>
<fieldset><legend>Intensities from black to white</legend>
<input id="low" type="number" step="any" aria-label="black"> to
<input id="high" type="number" step="any" aria-label="white"></fieldset>
<fieldset><label><input id="cross" type="checkbox" checked> cross-hair</label></fieldset>
"""


def _table(table: tuple[Label, ...]) -> str:
    if not table:
        return '<table id="labels" hidden><tbody></tbody></table>'
    rows = "".join(
        f'<tr><td><input type="checkbox" checked aria-label="show {escape(label.name, quote=True)}"></td>'
        f'<td><span class="swatch" style="background:{label.colour}"></span></td>'
        f'<td><button type="button">{escape(label.name)}</button></td>'
        f'<td class="number">{label.ml:.2f}</td><td class="number">{label.voxels}</td></tr>'
        for label in table
    )
    return (
        '<table id="labels"><caption class="head">Labels</caption><thead><tr>'
        '<th scope="col">shown</th><td></td>'
        '<th scope="col">name</th><th scope="col">ml</th><th scope="col">voxels</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _keys() -> str:
    entries = "".join(f"<dt><kbd>{escape(keys)}</kbd></dt><dd>{does}</dd>" for keys, does in KEYS)
    return f'<p class="head">Keys</p><dl>{entries}</dl>'
