"""NiiVue (BSD 2-Clause, see LICENSE-niivue.txt), the drawing part of `msdk-rt view`."""

from pathlib import Path

SCRIPT = Path(__file__).with_name("niivue.umd.js")
LICENCE = Path(__file__).with_name("LICENSE-niivue.txt")
