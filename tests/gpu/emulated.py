"""The volume checks on the emulator: python emulated.py FOLDER, which holds the emulated libraries."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

import volume_checks  # noqa: E402
from device import Device  # noqa: E402


def main() -> None:
    device = Device(Path(sys.argv[1]))
    for check in volume_checks.CHECKS:
        print(f"{check.__name__}: {check(device)} cases", flush=True)


if __name__ == "__main__":
    main()
