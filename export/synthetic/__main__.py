"""python -m msdk_export.synthetic FOLDER: write a dataset of synthetic T1 volumes for msdk-rt train."""

import argparse
import os
from pathlib import Path

from msdk_export.synthetic.dataset import write_dataset


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m msdk_export.synthetic",
        description="Write synthetic T1 volumes and their tissue labels (background, CSF, grey and white "
        "matter), drawn from the MNI152 tissue maps, as a dataset in the Medical Segmentation Decathlon's "
        "form. "
        "The same seed gives the same cases; cases that are there already are kept.",
    )
    parser.add_argument("folder", type=Path, help="where dataset.json, imagesTr/ and labelsTr/ go")
    parser.add_argument("--cases", type=int, default=150, help="cases to train on (%(default)s)")
    parser.add_argument("--validation", type=int, default=6, help="cases to validate on (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the whole dataset (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (%(default)s)")
    parser.add_argument(
        "--masked", action="store_true", help="what a brain mask leaves of each head, instead of whole heads"
    )
    arguments = parser.parse_args()
    write_dataset(
        arguments.folder,
        arguments.cases,
        arguments.validation,
        arguments.seed,
        arguments.workers,
        masked=arguments.masked,
    )


if __name__ == "__main__":
    main()
