"""Writes the page on accuracy from benchmarks/results: the demo's Dice, float16's cost, an ablation."""

import textwrap

import numpy as np

from benchmarks.accuracy import TISSUES
from benchmarks.report import PAGE as PERFORMANCE
from benchmarks.report import cases, latest, origin, read

PAGE = PERFORMANCE.with_name("accuracy.md")
BARE = "without the edge's move"
OUTSIDE = "outside the brain, % of it"
HEAD = """# Accuracy

`python -m benchmarks.demo_accuracy`, `benchmarks.heads`, `benchmarks.fluid`, `benchmarks.precision`,
`benchmarks.autocast`, `benchmarks.ablation`, `benchmarks.nnunet_agreement` and
`benchmarks.nnunet_differences` write this page from [benchmarks/results](../../benchmarks/results). The
figures are Dice coefficients, but for nnU-Net's.
[benchmarks/accuracy.py](../../benchmarks/accuracy.py) describes the volumes.
"""


def write() -> None:
    """Rewrite the page from the figures measured last."""
    sections = (
        *_demo(read("demo_accuracy")),
        *_heads(read("heads")),
        *_fluid(read("fluid")),
        *_precision(read("precision")),
        *_autocast(read("autocast")),
        *_ablation(read("ablation")),
        *_nnunet(read("nnunet_agreement"), read("nnunet_differences")),
    )
    PAGE.write_text("\n".join([HEAD, *sections]))


def _demo(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    lines = ["## The demo network\n", f"{origin(rows[-1])}\n", f"| | {' | '.join(TISSUES)} |"]
    lines += ["| --- " * (1 + len(TISSUES)) + "|"]
    others = []
    for case in cases(rows):
        found = {row["what"]: row for row in latest(rows, case)}
        if set(found) == set(TISSUES):
            scores = " | ".join(f"{float(found[tissue]['value']):.3f}" for tissue in TISSUES)
            lines.append(f"| {case} | {scores} |")
        else:
            others += [
                f"- {case}, {what}: {float(row['value']):.2g} {row['unit']}"
                for what, row in found.items()
                if row["unit"] != "s"  # times of early runs; performance.md has those of today
            ]
    return [*lines, "", *others, "", "[Performance](performance.md) tells how long it takes.\n"]


def _heads(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    lines = [
        "## Whole heads and stripped brains\n",
        "`python -m benchmarks.heads`. Colin27 is a head that no training saw. Its labels are compared",
        "inside the brain mask that comes with it, against the run of its stripped brain. The others are",
        "compared everywhere with the template's own labels. Last column: tissue outside the brain.\n",
        f"{origin(rows[-1])}\n",
        *_tissue_table("volume", _measured(rows)),
    ]
    pictures = (
        ("without the brain mask", "colin27-without-the-brain-mask.png"),
        ("with it", "colin27-with-the-brain-mask.png"),
    )
    shown = [f"![Labels of Colin27's whole head {how}](../assets/{file})\n" for how, file in pictures]
    return [*lines, "", *shown]


def _fluid(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    found = _measured(rows)
    share, times, rays = (
        found.pop(name) for name in ("voxels", "milliseconds", "rays that meet tissue first")
    )
    fluid = {case: f"{scores['cerebrospinal fluid']:.3f}" for case, scores in found.items()}
    fitted = "fitted to the given mask"
    deep = 100 * share["deep and changed"] / share["deep fluid"]
    met = ", ".join(f"{value:.0f} % {name}" for name, value in rays.items())
    text = (
        "`python -m benchmarks.fluid`, on Colin27. Of the fluid in the run of its stripped brain our mask "
        f"leaves out {share['left out by the mask']:.1f} %, {share['other label']:.1f} % gets another label "
        f"within it, and as much as {share['new fluid']:.1f} % is fluid in the head's run alone, "
        f"{share['new fluid in the rim']:.1f} % within 2 mm of the masks' edge, where the network has other "
        "neighbours; the shifted mean and deviation of the intensities matter little: of the fluid more than "
        f"8 mm inside, {deep:.1f} % as much changes. With the stripped run's own labels within our mask the "
        f"Dice of fluid would be {fluid['the stripped run, cut by ours']}, and within a mask that was fitted "
        "to the given one, by intensities and blurs on the other side of the same head, it is "
        f"{fluid[fitted]} with {found[fitted][OUTSIDE]:.1f} % outside. No voxel's surroundings tell where "
        "the given mask ends: it looks like a smooth surface, FSL BET's, whose dark rim was taken away "
        "along rays. Of the rays into it so many meet 0.7 or more of the brain's median intensity in its "
        "first voxel: "
        f"{met}. Our mask's [edge](../reference/recipe.md#the-masks-edge) ends by such a rule, without which "
        f"the Dice of fluid is {fluid[BARE]}. The mask takes {times['mask']:.0f} ms of one core, "
        f"{times[BARE]:.0f} ms without it."
    )
    lines = [
        "### What bounds the fluid of a whole head\n",
        f"{textwrap.fill(text, 110)}\n",
        f"{origin(rows[-1])}\n",
        *_tissue_table("mask", found),
    ]
    return [*lines, ""]


def _tissue_table(name: str, found: dict[str, dict[str, float]]) -> list[str]:
    """Dice of each tissue and what lies outside, of each case."""
    lines = [f"| {name} | {' | '.join(TISSUES)} | {OUTSIDE} |", "| --- " * (2 + len(TISSUES)) + "|"]
    for case, scores in found.items():
        values = " | ".join(f"{scores[tissue]:.3f}" for tissue in TISSUES)
        lines.append(f"| {case} | {values} | {scores[OUTSIDE]:.1f} |")
    return lines


def _measured(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Of each case, what was measured last."""
    return {case: {row["what"]: float(row["value"]) for row in latest(rows, case)} for case in cases(rows)}


def _precision(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    columns = ("labels alike", *TISSUES)
    lines = [
        "## float16 against float32\n",
        "The float16 artifact's labels against the float32 one's, on the MNI152 T1 at 1 mm and on 19 random",
        "draws of it at 2 mm; Dice of each tissue. **No GPU ran this**: a CPU rounded every layer's output",
        "to float16, with sums in float32, as a GPU does.\n",
        f"{origin(rows[-1])}\n",
        f"| | {' | '.join(columns)} |",
        "| --- " * (1 + len(columns)) + "|",
    ]
    for case in cases(rows):
        found = {row["what"]: float(row["value"]) for row in latest(rows, case)}
        lines.append(f"| {case} | {' | '.join(f'{found[column]:.5f}' for column in columns)} |")
    return [*lines, ""]


def _autocast(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    lines = [
        "### Against NVIDIA's AutoCast\n",
        "Another way to a strongly typed float16 graph. AutoCast keeps layers in float32 by the values that",
        "it sees on a sample; msdk_rt keeps them by rule, norms above all. AutoCast asks TensorRT about the",
        "msdk ops; without TensorRT it got the graph around them. The demo's network and volume, rounded as",
        "above ([benchmarks/autocast.py](../../benchmarks/autocast.py)).\n",
        f"{origin(rows[-1])}\n",
        "| | labels alike | least Dice | casts | file | in float32 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case in cases(rows):
        found = {row["what"]: float(row["value"]) for row in latest(rows, case)}
        kept = [f"{n:.0f} {what.removeprefix('float32 ')}" for what, n in found.items() if "float32 " in what]
        alike, least, casts, size = (found[what] for what in ("labels alike", "least Dice", "casts", "file"))
        lines.append(
            f"| {case} | {alike:.5f} | {least:.5f} | {casts:.0f} | {size:.0f} kB | {', '.join(kept)} |"
        )
    return [*lines, ""]


def _ablation(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    table: dict[str, dict[str, dict[str, float]]] = {}
    for case in cases(rows):
        table[case] = {}
        for row in latest(rows, case):
            side, seed = row["what"].rsplit(", ", 1)
            table[case].setdefault(side, {})[seed] = float(row["value"])
    sides = list(next(iter(table.values())))
    lines = [
        "## Self-distillation, with and without\n",
        "The same network, data, seeds and steps. Every head is supervised on both sides; only the two",
        "distillation terms differ. Each cell is the mean over seeds, with each seed's value in brackets.",
        "The difference is between runs with the same seed: mean and extremes.\n",
        f"{origin(rows[-1])}\n",
        f"| | {' | '.join(sides)} | difference |",
        "| --- " * (2 + len(sides)) + "|",
    ]
    for case, runs in table.items():
        cells = [
            f"{np.mean(list(seeds.values())):.3f} ({', '.join(f'{value:.3f}' for value in seeds.values())})"
            for seeds in runs.values()
        ]
        first, second = runs.values()
        gains = [first[seed] - second[seed] for seed in first if seed in second]
        spread = f"{np.mean(gains):+.3f} ({min(gains):+.3f} to {max(gains):+.3f})" if gains else ""
        lines.append(f"| {case} | {' | '.join(cells)} | {spread} |")
    return [*lines, ""]


NNUNET = """## Labels beside nnU-Net's

`python -m benchmarks.nnunet_agreement`: nnUNetPredictor 2.8 and msdk_rt on networks trained for 300
steps, {count} kinds of images. {overall:.4%} of all labels are alike, {foreground:.4%} of the
foreground's. Last column: labels of nnUNetPredictor's that are others where its own code sums windows in
float32, not float16: there rounding decides, and msdk_rt rounds as it does.

{origin}
"""
WHY = """### What rounding decides

`python -m benchmarks.nnunet_differences`, on a {case}, no mirroring. [One row for each
voxel](../../benchmarks/results/nnunet_differences_by_voxel.csv). The referee is nnU-Net's own code with
network, sums and resampling in float64.

{origin}
"""
CAUSE = """
nnU-Net adds weighted windows up in float16, and resamples the logits to float16. Where the logits of two
classes are closer than that rounds, its label is the first of two equal ones, or the wrong one. In the
corners of a volume one window alone counts, with a weight of 6e-8, float16's smallest number. There its
logits are whole numbers before they are resampled, and a margin of 0.3 is lost. An artifact of a results
folder rounds as nnU-Net does ([sums](../reference/recipe.md#sums-in-float16)), so that the labels are alike.
"""


def _nnunet(agreement: list[dict], differences: list[dict]) -> list[str]:
    """How many labels are nnU-Net's, by case, and why those of a whole head that are not, are not."""
    lines = []
    if agreement:
        total_of_a_run = "all cases"  # where some cases were run again since, it is not theirs
        found = {case: _values(agreement, case) for case in cases(agreement) if case != total_of_a_run}
        columns = ("voxels", "foreground", "differ", "decided by float16")
        counted = (*columns, "differ in the foreground")
        total = {what: sum(values[what] for values in found.values()) for what in counted}
        overall = 1 - total["differ"] / total["voxels"]
        foreground = 1 - total["differ in the foreground"] / total["foreground"]
        lines += [
            NNUNET.format(
                count=len(found),
                overall=overall,
                foreground=foreground,
                origin=origin(agreement[-1]),
            ),
            f"| | {' | '.join(columns)} |",
            "| --- " * (1 + len(columns)) + "|",
        ]
        for case, values in (found | {total_of_a_run: total}).items():
            lines.append(f"| {case} | {' | '.join(f'{values[column]:.0f}' for column in columns)} |")
        lines.append("")
    if differences:
        (case,) = cases(differences)
        rows = [
            f"| {what} | {value:,.0f} |" if value >= 1 else f"| {what} | {value:.2g} |"
            for what, value in _values(differences, case).items()
        ]
        lines += [
            WHY.format(case=case, origin=origin(differences[-1])),
            "| | |",
            "| --- | --- |",
            *rows,
            CAUSE,
        ]
    return lines


def _values(rows: list[dict], case: str) -> dict[str, float]:
    return {row["what"]: float(row["value"]) for row in latest(rows, case)}
