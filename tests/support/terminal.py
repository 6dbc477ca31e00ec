"""Commands whose stderr is a terminal, where progress bars are shown."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path

SIZE = (24, 80)


class OnTerminal:
    """A running command. shown: what its stderr has shown so far."""

    def __init__(self, command: Sequence[str | Path], **options):
        self._screen, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", *SIZE, 0, 0))
        self.process = subprocess.Popen(command, stderr=terminal, **options)
        os.close(terminal)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Wait until stderr has shown this. Raises AssertionError when the command ends without it."""
        while text not in self.shown:
            assert self._read(), f"{text!r} was never shown, only {self.shown!r}"

    def ended(self, timeout: float = 60) -> int:
        """The exit code, once the command has ended and all that it shows is in `shown`."""
        while self._read():
            pass
        os.close(self._screen)
        return self.process.wait(timeout)

    def _read(self) -> bool:
        try:
            more = os.read(self._screen, 1024)
        except OSError:  # the last process on this terminal has ended
            return False
        self.shown += more.decode(errors="replace")
        return bool(more)
