"""`python -m msdk_rt` is `msdk-rt`, for where the folder of Python's commands is not on PATH."""

import sys

from msdk_rt.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
