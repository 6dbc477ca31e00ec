"""Files are whole or not there."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from msdk_rt.artifact import locks
from msdk_rt.artifact.files import LEFTOVERS, atomic_write, check_writable, remove_leftovers, temporary_folder
from msdk_rt.errors import OutputError


@pytest.fixture(params=["lock_itself", "lock_stand_in"], autouse=True)
def kind_of_lock(request, monkeypatch):
    """Every test with the locks of Linux and macOS, and with those of Windows."""
    monkeypatch.setattr(locks, "lock", getattr(locks, request.param))
    return request.param


def test_content_appears_at_the_end(tmp_path):
    path = tmp_path / "result.txt"
    with atomic_write(path, "w") as file:
        file.write("größe")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "größe"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_permissions_follow_the_umask(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with atomic_write(tmp_path / "atomic") as file:
        file.write(b"1")
    assert (tmp_path / "atomic").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_write_leaves_the_older_file(tmp_path, error):
    path = tmp_path / "result"
    path.write_bytes(b"old")

    def write_half():
        with atomic_write(path) as file:
            file.write(b"new, half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["result"]


@pytest.mark.parametrize("place", ["missing/result", "file/result"])
def test_a_folder_that_is_not_there(tmp_path, place):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OutputError, match=r"cannot write .*result.*choose a writable folder"),
        atomic_write(tmp_path / place),
    ):
        pytest.fail("the block must not run")


def test_check_writable_refuses_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write into"):
        check_writable(tmp_path / "file" / "deeper")
    check_writable(tmp_path / "new" / "folder")
    assert os.listdir(tmp_path / "new" / "folder") == []


def test_a_full_disk(tmp_path):
    """A file size limit stands in for a full disk: the write fails half-way, in a separate process."""
    script = (
        "import signal, sys\n"
        "from msdk_rt.errors import OutputError\n"
        "from msdk_rt.artifact.files import atomic_write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n"
        "    with atomic_write(sys.argv[1]) as file:\n"
        "        file.write(bytes(1 << 20))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "big")],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert "cannot write" in run.stdout
    assert "space" in run.stdout
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_removed_and_what_is_written_now_stays(tmp_path, kind_of_lock):
    script = (
        "import os, signal, sys\n"
        "from msdk_rt.artifact import locks\n"
        f"locks.lock = locks.{kind_of_lock}\n"
        "from msdk_rt.artifact.files import atomic_write, temporary_folder\n"
        "from pathlib import Path\n"
        "with atomic_write(sys.argv[1] + '/result') as file, temporary_folder(Path(sys.argv[1])) as folder:\n"
        "    file.write(bytes(99999))\n"
        "    (folder / 'model.onnx').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(LEFTOVERS))) == 2
    (tmp_path / ".msdk-notes.txt").write_text("somebody's own")
    (tmp_path / ".msdk-0.part").symlink_to(".msdk-notes.txt")
    with atomic_write(tmp_path / "result") as file, temporary_folder(tmp_path) as folder:
        file.write(b"new")
        file.flush()
        (folder / "model.onnx").write_bytes(b"half")
        (tmp_path / ".msdk-1.part.lock").touch()
        check_writable(tmp_path)
        assert len(list(tmp_path.glob(LEFTOVERS))) == 3
    assert (tmp_path / "result").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == [".msdk-0.part", ".msdk-notes.txt", "result"]


@pytest.mark.parametrize(("hours", "stays"), [(0, True), (23, True), (25, False)])
def test_what_another_machine_writes_is_left_alone_for_a_day(tmp_path, hours, stays):
    """Its lock may not be seen here. Names of older versions say no machine."""
    names = [".msdk-00000000-12.part", ".msdk-0123456789abcdef.part"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
        past = time.time() - hours * 3600
        os.utime(tmp_path / name, (past, past))
    check_writable(tmp_path)
    assert sorted(os.listdir(tmp_path)) == (sorted(names) if stays else [])


def test_what_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """Another process looks for leftovers between our creating a file and our locking it."""
    lock, seen = locks.lock, []

    def late(*args, **options):
        if not seen:
            seen.append(os.listdir(tmp_path))
            remove_leftovers(tmp_path)
        return lock(*args, **options)

    monkeypatch.setattr(locks, "lock", late)
    with atomic_write(tmp_path / "result") as file:
        file.write(b"whole")
    assert len(seen[0]) == 1
    assert os.listdir(tmp_path) == ["result"]
    assert (tmp_path / "result").read_bytes() == b"whole"
