"""python -m msdk_export.brain_mask FOLDER: train the brain mask that goes before the demo network."""

import argparse
from pathlib import Path

from msdk_export.brain_mask.training import train_brain_mask


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m msdk_export.brain_mask", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the run; one that is there is resumed")
    parser.add_argument("--steps", type=int, default=2400, help="heads in all (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and heads (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (%(default)s)")
    parser.add_argument("--init", type=Path, help="brain_mask.pt of another run, to begin with its weights")
    print(train_brain_mask(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
