"""Shared by `msdk-rt run` and `msdk-rt bids`: a cohort from plan to report."""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from msdk_rt.artifact.manifest import Manifest
from msdk_rt.cohort.nnunet_files import reader_axes, write_descriptions
from msdk_rt.cohort.opening import Executor, Here, Opening
from msdk_rt.cohort.other_parts import split_otherwise
from msdk_rt.cohort.plan import Plan, part_of
from msdk_rt.cohort.remote.view import View
from msdk_rt.cohort.report import check_summary_places, is_complete, report, write_summary
from msdk_rt.commands.opening_arguments import opening_of
from msdk_rt.commands.terminal import shows_bars
from msdk_rt.errors import writable


def segment_cohort(
    options: argparse.Namespace, model: Path, view: View, make_plan: Callable[[Manifest], Plan]
) -> int:
    """Segment the cases of a plan as the options say, print the report if asked; returns the exit code.

    view: of the inputs and the output, which the plan is made of.

    A case that fails is reported and the next one follows. Raises OutputError, and what the model raises.
    """
    for_nnunet = getattr(options, "save_probabilities", False)  # `bids` has no such option
    opening = opening_of(options, model)
    with closing(_executor(opening, options.cluster)) as executor:
        plan = part_of(view.plan(lambda: make_plan(executor.manifest)), options.part)
        if plan.folder:
            check_summary_places(plan.folder)
        if for_nnunet:
            write_descriptions(executor.manifest, plan.folder)
        for entry in plan.left_out:
            if not entry.harmless:
                say(f"left out: {entry.place} {entry.reason}")
        request = opening.request(executor.manifest, options.probabilities, options.overwrite)
        if for_nnunet:
            request = replace(request, reader_axes=reader_axes(executor.manifest))
        outcomes = list(executor.run(plan.cases, request, say, progress=shows_bars(options.quiet)))
        run = {"model": str(model), **executor.described()}
    place = {case.name: index for index, case in enumerate(plan.cases)}
    outcomes.sort(key=lambda outcome: place[outcome.case.name])
    entries = report(plan, outcomes, request, **run)
    view.fetch_results(plan)
    write_summary(plan, outcomes, request, entries)
    view.publish(plan)
    for sentence in split_otherwise(plan):
        say(f"warning: {sentence}")
    if options.json:
        print(json.dumps(entries, indent=2))
    return 0 if is_complete(plan, outcomes) else 1


def say(message: str) -> None:
    """A line on stderr, above a progress bar. Called from several threads."""
    tqdm.write(f"msdk-rt: {writable(' '.join(message.split()))}", file=sys.stderr)


def _executor(opening: Opening, cluster: str | None) -> Executor:
    if cluster is None:
        return Here(opening)
    from msdk_rt.cohort.cluster.executor import Cluster

    return Cluster(opening, cluster)
