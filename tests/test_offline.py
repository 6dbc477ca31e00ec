"""Export and run reach for no network: every attempt to connect or to look up a name is an error, and where
the system allows it, they are in a separate network namespace, which has none.
"""

import subprocess
import sys

import nibabel
import numpy as np

EXPORT_AND_RUN = """
import sys

NETWORK = ("connect", "bind", "sendto", "sendmsg", "getaddrinfo", "gethostbyname")

def refuse(event, arguments):
    if event.startswith("socket.") and event[7:] in NETWORK:
        raise PermissionError(event)

sys.addaudithook(refuse)
import msdk_rt.commands.main
from pathlib import Path
from tests.reliability.concurrency import export

folder = Path(sys.argv[1])
model, scan, labels = (str(folder / name) for name in ("model.onnx", "scan.nii.gz", "labels.nii.gz"))
export(Path(model))
assert msdk_rt.commands.main.main(["run", model, scan, "-o", labels]) == 0
import socket
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except PermissionError as error:
    print("refused:", error)
"""
WITHOUT_NETWORK = ["unshare", "--net", "--map-root-user"]


def test_export_and_run_need_no_network(tmp_path):
    volume = np.random.default_rng(9).gamma(2, 100, (23, 19, 11)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "scan.nii.gz")
    allowed = subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True, check=False).returncode == 0
    print("in a separate network namespace" if allowed else "without a network namespace: not allowed here")
    done = subprocess.run(
        [*(WITHOUT_NETWORK if allowed else []), sys.executable, "-c", EXPORT_AND_RUN, tmp_path],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "refused: socket." in done.stdout
    assert nibabel.load(tmp_path / "labels.nii.gz").shape == volume.shape
