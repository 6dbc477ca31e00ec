"""`msdk-rt view`: its options."""

import argparse
from pathlib import Path

from msdk_rt.commands.command import Command

EXAMPLES = """examples:
  msdk-rt view labels.nii.gz --image t1.nii.gz
  msdk-rt view results/ --case patient7
  msdk-rt view labels.nii.gz -o page.html     # one file, to be opened by any browser with WebGL 2
  msdk-rt view dicom/ --series '*MPRAGE*'

The page is served on this machine alone, under an address that nobody can guess, and the command ends when
the page is closed. Neither the page nor the command asks any other machine for anything. Needs the extra
msdk_rt[view]."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "result", type=Path, help="labels that msdk-rt run wrote, a folder of them, or an image alone"
    )
    parser.add_argument("--image", type=Path, help="the image that was segmented, where it is not found")
    parser.add_argument("--case", help="the case to show, of a folder of results")
    parser.add_argument("--series", default="", help="the series of a DICOM image, as msdk-rt run takes it")
    parser.add_argument("-o", "--output", type=Path, help="write the page into one file and end")
    parser.add_argument("--port", type=int, default=0, help="of the server (default: any that is free)")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")


def run(options: argparse.Namespace) -> int:
    from msdk_rt.artifact.files import atomic_write
    from msdk_rt.viewer.page import niivue, page_in_one_file
    from msdk_rt.viewer.server import PageServer
    from msdk_rt.viewer.subject import find, load

    niivue()
    subject = load(find(options.result, options.image, options.case), options.series)
    if options.output:
        with atomic_write(options.output, "w") as file:
            file.writelines(page_in_one_file(subject))
        print(options.output)
        return 0
    server = PageServer(subject, options.port)
    print(f"{server.address}   (ends when the page is closed, or with Ctrl-C)", flush=True)
    if not options.no_browser:
        import webbrowser

        webbrowser.open(server.address)
    server.serve()
    return 0


COMMAND = Command("view", "look at an image and its labels in a browser", EXAMPLES, add_arguments, run)
