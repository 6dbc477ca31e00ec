"""`msdk-rt series`: its options."""

import argparse
from pathlib import Path

from msdk_rt.commands.command import Command

EXAMPLES = """examples:
  msdk-rt series dicom/
  msdk-rt series study.zip

Prints the number, modality, images and description of each series, for `msdk-rt run --series`, and the UID of
one that these do not tell from the others. Descriptions are shown here alone: no other command prints or
records what a scanner's operator typed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, help="a DICOM folder, a zip of one, or a DICOM file")


def run(options: argparse.Namespace) -> int:
    from msdk_rt.imaging.dicom.container import open_container
    from msdk_rt.imaging.dicom.series import needs_uid, series_in

    series = series_in(open_container(options.input))
    for one in series:
        uid = f", UID {one.uid}" if needs_uid(one, series) else ""
        print(f"{one}: {one.description or 'no description'}{uid}")
    return 0


COMMAND = Command("series", "list the series of a DICOM folder or zip", EXAMPLES, add_arguments, run)
