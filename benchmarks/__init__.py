"""One module a question; `python -m benchmarks` asks them all. Cases and models are shared with the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
