"""A benchmark as one HTML page that needs nothing else: tables, distributions, stages, roofline."""

import html
from pathlib import Path

from msdk_rt.artifact.files import atomic_write
from msdk_rt.bench.report import Contestant, Report, Row, VolumeTime, number
from msdk_rt.bench.svg import PALETTE, Scale, circle, line, picture, rectangle, text

WIDTH = 860
LEFT, RIGHT = 60, WIDTH - 20
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em } .note { color: #666 }
table { border-collapse: collapse; width: 100% } td, th { padding: .25em .7em; text-align: right }
td:first-child, th:first-child { text-align: left; padding-left: 0 } tr + tr td { border-top: 1px solid #ddd }
svg { width: 100%; height: auto } svg text { font: 13px system-ui, sans-serif; fill: #222 }
svg .small { font-size: 12px; fill: #555 } svg .inside { fill: #fff; font-weight: 600 }
svg .axis { stroke: #888 } svg .grid { stroke: #e4e4e4 } svg .roof { stroke: #444; stroke-width: 2 }
svg .median { stroke: #222; stroke-width: 2 }
"""
ROOF = (
    "The area of a dot is its share of the time. The roof is what NumPy reaches on this machine: a matrix "
    "product on all its cores, a copy on one. A convolution counts its plain products: Conv3d needs fewer, "
    "and may lie above it. Ops that mostly move data have no operations counted and are in the table alone."
)


def write_page(report: Report, path: Path) -> None:
    """Write the page, whole or not at all. Raises OutputError."""
    with atomic_write(path, "w") as file:
        file.write(page(report))


def page(report: Report) -> str:
    """The page's HTML: nothing in it is fetched from elsewhere."""
    timed = [contestant for contestant in report.contestants if contestant.window.seconds]
    body = [
        "<h1>msdk-rt bench</h1>",
        f"<p>{html.escape(report.heading())}</p>",
        *(f"<p><b>{html.escape(remark)}</b></p>" for remark in report.remarks),
    ]
    if timed:
        body += ["<h2>One window</h2>", _table(report.window_rows()), distributions(timed)]
        body.append('<p class="note">A dot is one inference; the line is the median.</p>')
    if volumes := [(contestant, volume) for contestant in timed if (volume := contestant.volume)]:
        body += ["<h2>A whole volume, stage by stage</h2>", stages(volumes)]
        body += [f'<p class="note">{html.escape(c.volume_text(volume))}</p>' for c, volume in volumes]
    for contestant in timed:
        if contestant.ops and report.peak_flops and report.peak_bandwidth:
            drawn = roofline(contestant, report.peak_flops, report.peak_bandwidth)
            body += [f"<h2>Ops of {html.escape(contestant.name)}</h2>", drawn]
            body.append(f'<p class="note">{ROOF}</p>')
            body.append(_table(contestant.op_rows("op")))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>msdk-rt bench</title>'
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def distributions(contestants: list[Contestant]) -> str:
    """The times of each contestant's windows as dots over one axis in milliseconds."""
    times = [1e3 * seconds for contestant in contestants for seconds in contestant.window.seconds]
    low, high = min(times), max(times)
    margin = 0.05 * (high - low) or 0.05 * high
    across = Scale(low - margin, high + margin, LEFT, RIGHT)
    row, bottom = 74, 74 * len(contestants) + 8
    marks = _axis(across, bottom, "ms a window")
    for index, contestant in enumerate(contestants):
        top, colour = row * index, PALETTE[index % len(PALETTE)]
        marks.append(text(LEFT, top + 16, contestant.name))
        for place, seconds in enumerate(contestant.window.seconds):
            lifted = top + 30 + place * 7919 % 31  # spread out, the same on every drawing
            marks.append(circle(across(1e3 * seconds), lifted, 3, colour, f"{1e3 * seconds:.3g} ms", 0.45))
        if (median := contestant.window.quantile(50)) is not None:
            x = across(1e3 * median)
            marks.append(line(x, top + 24, x, top + 68, "median"))
    return picture(WIDTH, bottom + 44, marks, "distribution of the windows' times")


def stages(volumes: list[tuple[Contestant, VolumeTime]]) -> str:
    """One bar a contestant, its stages side by side, over one axis in seconds."""
    names = list(dict.fromkeys(name for _, volume in volumes for name in volume.stages))
    across = Scale(0, 1.02 * max(volume.seconds for _, volume in volumes), LEFT, RIGHT)
    row, bottom = 64, 64 * len(volumes) + 8
    marks = _axis(across, bottom, "seconds a volume")
    for index, (contestant, volume) in enumerate(volumes):
        spent = 0.0
        shape = " x ".join(map(str, volume.shape))
        marks.append(text(LEFT, row * index + 16, f"{contestant.name}: {shape}, {volume.windows} windows"))
        for name, seconds in volume.stages.items():
            x, width = across(spent), across(seconds) - across(0)
            share = f"{name} {seconds / volume.seconds:.1%}"
            title = f"{share}, {seconds:.3f} s"
            marks.append(rectangle(x, row * index + 26, width, 28, _colour(names, name), title))
            if width > 8 * len(share):
                marks.append(text(x + width / 2, row * index + 45, share, "middle", "inside"))
            spent += seconds
    x = float(LEFT)
    for name in names:
        marks += [rectangle(x, bottom + 50, 12, 12, _colour(names, name), name)]
        marks += [text(x + 18, bottom + 61, name)]
        x += 40 + 8 * len(name)
    return picture(WIDTH, bottom + 76, marks, "stages of a volume")


def roofline(contestant: Contestant, peak_flops: float, peak_bandwidth: float) -> str:
    """Op types by operations a byte and operations a second, under what the machine can do.

    peak_flops, peak_bandwidth: operations and bytes a second.
    """
    counted = [(op, op.flops) for op in contestant.dear_ops() if op.flops and op.bytes]
    total = sum(op.seconds for op in contestant.ops)
    ridge = peak_flops / peak_bandwidth
    intensities = [flops / op.bytes for op, flops in counted] + [ridge]
    rates = [flops / op.seconds for op, flops in counted] + [peak_flops]
    height = 380
    across = Scale(min(intensities) / 3, max(intensities) * 6, LEFT, RIGHT, logarithmic=True)
    up = Scale(min(rates) / 3 / 1e9, max(rates) * 3 / 1e9, height, 10, logarithmic=True)
    marks = _axis(across, height, "operations a byte")
    for tick in up.ticks():
        marks += [line(LEFT, up(tick), RIGHT, up(tick), "grid")]
        marks += [text(LEFT - 6, up(tick) + 4, f"{tick:g}", "end", "small")]
    marks.append(text(LEFT, 16, "GFLOP/s", style="small"))
    roof = peak_flops / 1e9
    foot = max(across.low, up.low * 1e9 / peak_bandwidth)
    marks.append(line(across(foot), up(foot * peak_bandwidth / 1e9), across(ridge), up(roof), "roof"))
    marks.append(line(across(ridge), up(roof), RIGHT, up(roof), "roof"))
    marks.append(text(RIGHT, up(roof) - 8, f"{number(roof)} GFLOP/s", "end", "small"))
    bandwidth = f"{number(peak_bandwidth / 1e9)} GB/s"
    marks.append(text(across(foot) + 16, up(foot * peak_bandwidth / 1e9) + 4, bandwidth, style="small"))
    taken: list[float] = []
    for index, (op, flops) in enumerate(counted):
        x, y = across(flops / op.bytes), up(flops / op.seconds / 1e9)
        radius = 4 + 26 * (op.seconds / total) ** 0.5
        share = f"{op.op} {op.seconds / total:.1%}"
        marks.append(circle(x, y, radius, PALETTE[index % len(PALETTE)], share, 0.75))
        place = y + 4
        while any(abs(place - other) < 15 for other in taken):
            place += 15
        taken.append(place)
        marks.append(text(x + radius + 5, place, share))
    return picture(WIDTH, height + 44, marks, "roofline of the op types")


def _axis(scale: Scale, y: float, name: str) -> list[str]:
    marks = [line(scale.start, y, scale.end, y, "axis")]
    for tick in scale.ticks():
        marks += [line(scale(tick), 0, scale(tick), y, "grid")]
        marks += [text(scale(tick), y + 18, f"{tick:g}", "middle", "small")]
    return [*marks, text((scale.start + scale.end) / 2, y + 36, name, "middle", "small")]


def _colour(names: list[str], name: str) -> str:
    return PALETTE[names.index(name) % len(PALETTE)]


def _table(rows: list[Row]) -> str:
    head, *rest = rows
    cells = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    cells += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rest]
    return f"<table>{''.join(cells)}</table>"
