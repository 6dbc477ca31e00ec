"""A benchmark as one HTML page that needs nothing else: tables, distributions, stages, roofline."""

import html
from pathlib import Path

from msdk_rt.artifact.files import atomic_write
from msdk_rt.bench.report import Contestant, Report, number
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
        body += ["<h2>One window</h2>", _window_table(report, timed), distributions(timed)]
        body.append('<p class="note">A dot is one inference; the line is the median.</p>')
    if with_volume := [contestant for contestant in timed if contestant.volume]:
        body += ["<h2>A whole volume, stage by stage</h2>", stages(with_volume)]
        body += [f'<p class="note">{html.escape(contestant.volume_text())}</p>' for contestant in with_volume]
    for contestant in timed:
        if contestant.ops and report.peak_flops:
            body += [f"<h2>Ops of {html.escape(contestant.name)}</h2>", roofline(report, contestant)]
            body.append(f'<p class="note">{ROOF}</p>')
            body.append(_op_table(contestant))
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
        median = across(1e3 * contestant.window.quantile(50))
        marks.append(line(median, top + 24, median, top + 68, "median"))
    return picture(WIDTH, bottom + 44, marks, "distribution of the windows' times")


def stages(contestants: list[Contestant]) -> str:
    """One bar a contestant, its stages side by side, over one axis in seconds."""
    names = list(dict.fromkeys(name for c in contestants for name in c.volume.stages))
    longest = max(contestant.volume.seconds for contestant in contestants)
    across = Scale(0, 1.02 * longest, LEFT, RIGHT)
    row, bottom = 64, 64 * len(contestants) + 8
    marks = _axis(across, bottom, "seconds a volume")
    for index, contestant in enumerate(contestants):
        volume, spent = contestant.volume, 0.0
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
    x = LEFT
    for name in names:
        marks += [rectangle(x, bottom + 50, 12, 12, _colour(names, name), name)]
        marks += [text(x + 18, bottom + 61, name)]
        x += 40 + 8 * len(name)
    return picture(WIDTH, bottom + 76, marks, "stages of a volume")


def roofline(report: Report, contestant: Contestant) -> str:
    """Op types by operations a byte and operations a second, under what the machine can do."""
    counted = [op for op in contestant.dear_ops() if op.flops and op.bytes]
    total = sum(op.seconds for op in contestant.ops)
    ridge = report.peak_flops / report.peak_bandwidth
    intensities = [op.flops / op.bytes for op in counted] + [ridge]
    rates = [op.flops / op.seconds for op in counted] + [report.peak_flops]
    height = 380
    across = Scale(min(intensities) / 3, max(intensities) * 6, LEFT, RIGHT, logarithmic=True)
    up = Scale(min(rates) / 3 / 1e9, max(rates) * 3 / 1e9, height, 10, logarithmic=True)
    marks = _axis(across, height, "operations a byte")
    for tick in up.ticks():
        marks += [line(LEFT, up(tick), RIGHT, up(tick), "grid")]
        marks += [text(LEFT - 6, up(tick) + 4, f"{tick:g}", "end", "small")]
    marks.append(text(LEFT, 16, "GFLOP/s", style="small"))
    roof = report.peak_flops / 1e9
    foot = max(across.low, up.low * 1e9 / report.peak_bandwidth)
    marks.append(line(across(foot), up(foot * report.peak_bandwidth / 1e9), across(ridge), up(roof), "roof"))
    marks.append(line(across(ridge), up(roof), RIGHT, up(roof), "roof"))
    marks.append(text(RIGHT, up(roof) - 8, f"{number(roof)} GFLOP/s", "end", "small"))
    bandwidth = f"{number(report.peak_bandwidth / 1e9)} GB/s"
    marks.append(
        text(across(foot) + 16, up(foot * report.peak_bandwidth / 1e9) + 4, bandwidth, style="small")
    )
    taken: list[float] = []
    for index, op in enumerate(counted):
        x, y = across(op.flops / op.bytes), up(op.flops / op.seconds / 1e9)
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


def _window_table(report: Report, contestants: list[Contestant]) -> str:
    rows = [("", "p50 ms", "p90", "p95", "p99", "spread", "runs", "windows/s", "ratio")]
    for contestant in contestants:
        summary = contestant.window.summary()
        spread = "-" if summary["variation"] is None else f"{summary['variation']:.1%}"
        quantiles = [number(summary[f"p{percent}_ms"]) for percent in (50, 90, 95, 99)]
        spread += " unstable" if summary["unstable"] else ""
        rate, ratio = number(contestant.windows_per_second), f"{report.ratio(contestant):.2f}x"
        rows.append((contestant.name, *quantiles, spread, str(summary["runs"]), rate, ratio))
    return _table(rows)


def _op_table(contestant: Contestant) -> str:
    total = sum(op.seconds for op in contestant.ops)
    rows = [("op", "share", "ms", "nodes", "GFLOP/s", "GB/s")]
    for op in contestant.dear_ops():
        flops = number(op.flops / op.seconds / 1e9) if op.flops else "-"
        rate = number(op.bytes / op.seconds / 1e9)
        rows.append(
            (op.op, f"{op.seconds / total:.1%}", number(1e3 * op.seconds), str(op.nodes), flops, rate)
        )
    return _table(rows)


def _table(rows: list[tuple]) -> str:
    head, *rest = rows
    cells = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    cells += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rest]
    return f"<table>{''.join(cells)}</table>"
