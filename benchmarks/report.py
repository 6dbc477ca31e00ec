"""Writes the page on performance from benchmarks/results/*.csv: the latest figures of every case."""

import csv
from pathlib import Path

from benchmarks.measure import RESULTS

PAGE = RESULTS.parent.parent / "docs" / "explanation" / "performance.md"
HEAD = """# Performance

`make bench` writes this page from [benchmarks/results](../../benchmarks/results), which keeps every run's
figures. Each table is one run. Its contestants are timed alternately in one process; p20 to p80 is the
spread. A ratio is a median over ours: above 1 is slower than msdk_rt. Speed depends on the machine, so run it
on yours. [CPU kernels](cpu-kernels.md) counts what limits them.

![Times of msdk_rt and its peers on a CPU](../performance.png)
"""


def write() -> None:
    """Rewrite the page."""
    sections = [HEAD]
    for title, question, table in (
        ("The selective scan", "scan_op", _times),
        ("The directed convolution", "conv_op", _times),
        ("A KAN layer", "kan_op", _times),
        ("Ops that stand for standard ones on the CPU", "cpu_ops", _times),
        ("A Mamba block", "block", _times),
        ("OpenVINO", "openvino_peer", _times),
        ("The network", "network", _times),
        ("A window of nnU-Net's and U-Mamba's networks", "unets", _times),
        ("Their errors to float64", "unet_errors", _figures),
        ("Where their time goes", "unet_profile", _values),
        ("A whole volume", "volume", _times),
        ("A cohort", "cohort", _times),
        ("nnU-Net's cases", "nnunet", _figures),
        ("Resampling", "resampling", _times),
        ("Resampling beside nnU-Net's result", "resampling_agreement", _figures),
        ("Resampling, memory beside the logits", "resampling_memory", _figures),
        ("The server under load", "server", _figures),
        ("A cohort on Ray nodes", "cluster", _figures),
        ("10,000 cases on 50 nodes, simulated", "cohort_cost", _figures),
        ("Where the time goes", "network_profile", _values),
        ("Peak memory", "network_memory", _values),
        ("Growth with size", "scaling", _figures),
        ("A window over threads, batch and side", "window_scaling", _figures),
        ("SegMamba", "segmamba", _figures),
        ("SegMamba's error to float64", "segmamba_seeds", _figures),
        ("Where SegMamba's time goes", "segmamba_profile", _values),
    ):
        rows = read(question)
        if not rows:
            continue
        sections.append(f"## {title}\n")
        sections += [table(case, latest(rows, case)) for case in cases(rows)]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(sections))


def read(question: str, folder: Path = RESULTS) -> list[dict]:
    path = folder / f"{question}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def cases(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys(row["case"] for row in rows))


def latest(rows: list[dict], case: str) -> list[dict]:
    """The case's rows of the run that is last in the file."""
    rows = [row for row in rows if row["case"] == case]
    key = "contestant" if "contestant" in rows[0] else "what"
    return list({row[key]: row for row in rows}.values())


def origin(row: dict) -> str:
    return f"{row['machine']}, {row['cores']} cores; {row['versions']}; commit {row['commit']}, {row['date']}"


def _times(case: str, rows: list[dict]) -> str:
    unit = rows[0]["unit"]
    columns = ["", "threads", "median, ms", "p20 to p80, ms", "runs", "ratio"]
    columns += [f"{unit}/s/thread"] if unit else []
    lines = [
        f"### {case}\n",
        f"{origin(rows[0])}\n",
        f"| {' | '.join(columns)} |",
        "| --- " * len(columns) + "|",
    ]
    for row in rows:
        ratio = float(row["p50_ms"]) / float(rows[0]["p50_ms"])
        line = (
            f"| {row['contestant']} | {row['threads']} | {float(row['p50_ms']):.1f} "
            f"| {float(row['p20_ms']):.1f} to {float(row['p80_ms']):.1f} | {row['runs']} | {ratio:.2f} |"
        )
        if unit:
            rate = float(row["work"]) / float(row["p50_ms"]) * 1e3 / int(row["threads"])
            line += f" {rate:.2f} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _values(case: str, rows: list[dict]) -> str:
    total = sum(float(row["value"]) for row in rows)
    lines = [f"### {case}\n", f"{origin(rows[0])}\n", f"| | {rows[0]['unit']} |", "| --- | --- |"]
    shown = [row for row in rows if float(row["value"]) > total / 200]
    lines += [f"| {row['what']} | {float(row['value']):.0f} |" for row in shown]
    return "\n".join(lines) + "\n"


def _figures(case: str, rows: list[dict]) -> str:
    """Rows of different units."""
    lines = [f"### {case}\n", f"{origin(rows[0])}\n", "| | |", "| --- | --- |"]
    lines += [f"| {row['what']} | {float(row['value']):.4g} {row['unit']} |" for row in rows]
    return "\n".join(lines) + "\n"
