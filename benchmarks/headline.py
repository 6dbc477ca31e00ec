"""Writes README's figures from benchmarks/results: a table between two marks, and a chart."""

from matplotlib.figure import Figure

from benchmarks.measure import RESULTS
from benchmarks.report import latest, origin, read

ROOT = RESULTS.parent.parent
CHART = ROOT / "docs" / "performance.png"
README = ROOT / "README.md"
BEGIN, END = "<!-- written by make bench -->\n", "<!-- end -->\n"
OURS, PEER = "#0072b2", "#b0b0b0"

CASES = {
    "the MNI152 volume at 1 mm, whole": ("volume", "MNI152 T1, 1 mm, 48 windows of 96^3"),
    "a window of 128³, base network": ("network", "base network, window 128^3"),
    "a KAN layer, 48 channels at 64³": ("kan_op", "C=48 L=262144"),
    "a Mamba block, 262,144 tokens": ("block", "C=48 L=262144"),
    "a scan of 262,144 tokens, both ways": ("scan_op", "L=262144 D=96 N=16 K=2"),
}


def write() -> None:
    """Rewrite the chart and README's table; a case that was never measured is left out of both."""
    measured = {name: latest(read(question), case) for name, (question, case) in CASES.items()}
    measured = {name: _threaded_alike(rows) for name, rows in measured.items() if rows}
    if not measured:
        return
    _chart(measured).savefig(CHART, dpi=110)
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(before + BEGIN + _table(measured) + END + after)


def _threaded_alike(rows: list[dict]) -> list[dict]:
    """Ours, the first, and those with as many threads."""
    return [row for row in rows if row["threads"] == rows[0]["threads"]]


def _ratio(row: dict, rows: list[dict]) -> float:
    return float(row["p50_ms"]) / float(rows[0]["p50_ms"])


def _duration(row: dict) -> str:
    milliseconds = float(row["p50_ms"])
    return f"{milliseconds / 1e3:.3g} s" if milliseconds >= 1e3 else f"{milliseconds:.3g} ms"


def _table(measured: dict[str, list[dict]]) -> str:
    lines = ["| | msdk_rt | others, times as long |", "| --- | --- | --- |"]
    for name, rows in measured.items():
        others = ", ".join(f"{row['contestant']} {_ratio(row, rows):.1f}×" for row in rows[1:])
        lines.append(f"| {name} | {_duration(rows[0])} | {others} |")
    ours = next(iter(measured.values()))[0]
    return "\n".join([*lines, "", f"*{origin(ours)}.*"]) + "\n"


def _chart(measured: dict[str, list[dict]]) -> Figure:
    """A row of bars for every case, their length the time as a multiple of ours."""
    bars = sum(map(len, measured.values())) + len(measured)
    figure = Figure(figsize=(8, 0.28 * bars + 0.8), layout="constrained")
    axes = figure.subplots()
    position, ticks = 0, []
    for name, rows in measured.items():
        axes.text(0, position, name, weight="bold", va="center")
        for row in rows:
            position += 1
            ratio = _ratio(row, rows)
            axes.barh(position, ratio, color=OURS if row is rows[0] else PEER)
            axes.text(ratio, position, f" {_duration(row)}", va="center")
            ticks.append((position, row["contestant"]))
        position += 1
    axes.set_yticks(*zip(*ticks, strict=True))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max(_ratio(row, rows) for rows in measured.values() for row in rows))
    axes.set_xlabel(f"times as long as msdk_rt, {rows[0]['cores']} cores, {rows[0]['machine']}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    return figure
