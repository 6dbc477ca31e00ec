"""Shared by `msdk-rt run` and `msdk-rt bids`: a cohort from plan to report."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from msdk_rt.artifact.manifest import Manifest
from msdk_rt.cohort.nnunet_files import reader_axes, write_descriptions
from msdk_rt.cohort.plan import Plan, part_of
from msdk_rt.cohort.records import Request, model_of, versions
from msdk_rt.cohort.report import check_summary_places, is_complete, report, write_summary
from msdk_rt.cohort.run import run_cases
from msdk_rt.commands.terminal import shows_bars
from msdk_rt.errors import writable
from msdk_rt.segmenter import Segmenter


def segment_cohort(options: argparse.Namespace, model: Path, make_plan: Callable[[Manifest], Plan]) -> int:
    """Segment the cases of a plan as the options say, print the report if asked; returns the exit code.

    A case that fails is reported and the next one follows. Raises OutputError, and what the model raises.
    """
    with Segmenter(
        model,
        providers=options.provider,
        overlap=options.overlap,
        blend=options.blend,
        batch_size=options.batch_size,
        mirror_axes=() if options.no_mirror else options.mirror,
        threads=options.threads,
    ) as segmenter:
        plan = part_of(make_plan(segmenter.manifest), options.part)
        if plan.folder:
            check_summary_places(plan.folder)
        if getattr(options, "save_probabilities", False):
            write_descriptions(segmenter.manifest, plan.folder)
        for entry in plan.left_out:
            if not entry.harmless:
                say(f"left out: {entry.path} {entry.reason}")
        request = _request(segmenter, options)
        outcomes = list(run_cases(segmenter, plan.cases, request, say, progress=shows_bars(options.quiet)))
        run = {"model": str(model), "providers": segmenter.providers, "threads": options.threads}
    entries = report(plan, outcomes, request, **run)
    write_summary(plan, outcomes, request, entries)
    if options.json:
        print(json.dumps(entries, indent=2))
    return 0 if is_complete(plan, outcomes) else 1


def say(message: str) -> None:
    """A line on stderr, above a progress bar. Called from several threads."""
    tqdm.write(f"msdk-rt: {writable(' '.join(message.split()))}", file=sys.stderr)


def _request(segmenter: Segmenter, options: argparse.Namespace) -> Request:
    manifest = segmenter.manifest
    settings: dict[str, Any] = {
        "overlap": options.overlap,
        "blend": options.blend or manifest.blending["mode"],
        "mirror_axes": sorted(segmenter.mirror_axes),
    }
    made_with = versions() | {
        "providers": segmenter.providers,
        "threads": options.threads,
        "batch_size": options.batch_size,
    }
    return Request(
        model_of(manifest),
        settings,
        made_with,
        manifest.labels,
        probabilities=options.probabilities,
        overwrite=options.overwrite,
        reader_axes=reader_axes(manifest) if getattr(options, "save_probabilities", False) else "",
    )
