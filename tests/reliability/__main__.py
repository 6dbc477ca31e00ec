"""Runs campaigns in full, appends their results to tests/reliability/results, rewrites their page.

Exit code 1 when a promise was broken.
"""

import argparse
import importlib
import sys

from tests.reliability import report

CAMPAIGNS = {
    "attacks": "files made to harm, one by one",
    "fuzzing": "mutated models, manifests, checkpoints and volumes",
    "kills": "SIGKILL at random moments of an export, a run and a training",
    "starvation": "no space and no permission at every write",
    "concurrency": "threads, processes and exports at once",
    "cluster": "workers, nodes and the driver of a Ray cluster lost on the way",
    "server": "clients of msdk-rt serve that are many, rude or hostile",
    "endurance": "nothing grows in a long run",
    "native": "fuzzing of the C++ adaptors by libFuzzer",
}


def main() -> int:
    listing = "\n".join(f"  {name:12} {promise}" for name, promise in CAMPAIGNS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability",
        description=f"{__doc__}\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("campaigns", nargs="*", metavar="campaign", help="default: all of them")
    parser.add_argument("--quick", action="store_true", help="the tests' slice, shown but not recorded")
    options = parser.parse_args()
    names = options.campaigns or list(CAMPAIGNS)
    for name in names:
        if name not in CAMPAIGNS:
            parser.error(f"unknown campaign {name!r}; expected one of {', '.join(CAMPAIGNS)}")
    failures = 0
    for name in names:
        print(f"\n## {name}: {CAMPAIGNS[name]}\n", flush=True)
        for row in importlib.import_module(f"tests.reliability.{name}").main(quick=options.quick):
            print(f"  {row.what}: {row.times} times, {row.failures} failures; {row.outcome}", flush=True)
            failures += row.failures
            if not options.quick:
                report.record(name, [row])
    report.write(CAMPAIGNS)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
