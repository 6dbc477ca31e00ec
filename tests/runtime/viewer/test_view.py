"""The page in a real browser, every control used; the server that ends with its page."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import nibabel
import numpy as np
import pytest

from msdk_rt.commands.main import main
from msdk_rt.errors import BackendError
from msdk_rt.viewer import page, server
from msdk_rt.viewer.subject import Label, Subject, find, load

pytest.importorskip("msdk_rt_viewer", reason="NiiVue is not installed: pip install ./plugins/viewer")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no browser here")
AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])
DRIVE = """<script>
const ready = setInterval(() => {
  const state = document.body.dataset;
  if (!state.ready && !state.failed) return;
  clearInterval(ready);
  try { document.title = JSON.stringify(state.failed ? {failed: state.failed} : drive()); }
  catch (error) { document.title = String(error); }
}, 50);
function coloured() {
  nv.drawScene();
  const gl = nv.gl, [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
  const pixels = new Uint8Array(4 * w * h);
  gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  let count = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    const colour = pixels.subarray(i, i + 3);
    count += Math.max(...colour) - Math.min(...colour) > 25;
  }
  return count;
}
function key(name) {
  canvas.focus();
  canvas.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
}
function drive() {
  const found = {}, place = () => document.getElementById("place").textContent;
  const boxes = [...document.querySelectorAll("#labels input")];
  const names = document.querySelectorAll("#labels button");
  found.start = place();
  names[1].click(); found.second = place();
  key("ArrowLeft"); found.left = place(); key("ArrowRight");
  key("PageUp"); found.up = place(); key("PageDown");
  document.getElementById("cross").click(); found.cross = nv.opts.crosshairWidth;
  setView("axial"); found.both = coloured();
  boxes[0].click(); found.one = coloured();
  boxes[1].click(); found.none = coloured();
  key("l"); found.all = boxes.map(box => box.checked); found.again = coloured();
  opacity.value = 0; opacity.dispatchEvent(new Event("input")); found.clear = coloured();
  key("+"); found.opacity = document.getElementById("percent").textContent;
  const low = document.getElementById("low"), high = document.getElementById("high");
  low.value = 10; high.value = 20; high.dispatchEvent(new Event("change"));
  found.window = [nv.volumes[0].cal_min, nv.volumes[0].cal_max];
  found.views = [...document.querySelectorAll("[data-view]")].map(button => {
    button.click(); return [button.dataset.view, nv.opts.sliceType, button.getAttribute("aria-pressed")]; });
  key("3"); found.byKey = nv.opts.sliceType;
  found.requests = performance.getEntriesByType("resource").map(entry => entry.name.slice(0, 40))
    .filter(name => !name.startsWith("data:") && !name.startsWith("blob:"));
  return found;
}
</script>"""


@pytest.fixture
def files(tmp_path):
    image = np.arange(16 * 17 * 18).reshape(16, 17, 18).astype(np.int16)
    labels = np.zeros(image.shape, np.uint8)
    labels[2:7, 2:15, 3:15] = 1
    labels[10:13, 8:11, 8:11] = 4
    for name, array in (("t1", image), ("labels", labels)):
        nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / f"{name}.nii.gz")
    return tmp_path / "labels.nii.gz", tmp_path / "t1.nii.gz"


OPTIONS = (
    *("--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"),
    *("--enable-unsafe-swiftshader", "--window-size=600,450"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def browse(address, profile):
    """The page as it is when nothing moves any more."""
    command = [CHROMIUM, *OPTIONS, "--virtual-time-budget=30000", "--dump-dom", f"--user-data-dir={profile}"]
    done = subprocess.run([*command, address], capture_output=True, text=True, timeout=240)
    return done.stdout


@needs_browser
def test_every_control_of_the_page(files, tmp_path):
    import html
    import json

    labels, image = files
    path = tmp_path / "page.html"
    assert main(["view", str(labels), "--image", str(image), "-o", str(path)]) == 0
    with path.open("a", encoding="utf-8") as file:
        file.write(DRIVE)
    title = re.search("<title>(.*?)</title>", browse(f"file://{path}", tmp_path / "profile"), re.DOTALL)[1]
    found = json.loads(html.unescape(title))
    at = load(find(labels, image)).table[1].at
    assert at == (-22.0, 18.0, 27.0)
    assert found["start"].endswith("label 1")
    assert found["second"].startswith("-22.0, 18.0, 27.0 mm")
    assert found["second"].endswith("label 4")
    assert found["left"].startswith("-24.0, 18.0, 27.0 mm")
    assert found["up"].startswith("-22.0, 18.0, 30.0 mm")
    assert found["cross"] == 0
    assert found["both"] > found["one"] > found["none"] == 0
    assert found["all"] == [True, True]
    assert found["again"] == found["both"]
    assert found["clear"] == 0
    assert found["opacity"] == "10 %"
    assert found["window"] == [10, 20]
    assert [view[0] for view in found["views"]] == ["all", "axial", "coronal", "sagittal", "3D"]
    assert len({view[1] for view in found["views"]}) == 5
    assert {view[2] for view in found["views"]} == {"true"}
    assert found["byKey"] == found["views"][2][1]
    assert found["requests"] == []


@needs_browser
def test_the_server_ends_with_its_page(files, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "GRACE", 1.0)
    labels, image = files
    served = server.PageServer(load(find(labels, image)))
    thread = threading.Thread(target=served.serve)
    thread.start()
    asked = set()
    answer = served.answer
    served.answer = lambda request: asked.add(request.path.rpartition("/")[2]) or answer(request)
    command = [CHROMIUM, *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={tmp_path / 'profile'}"]
    with (tmp_path / "said").open("w") as said:
        browser = subprocess.Popen([*command, served.address], stderr=said, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while not asked >= {"", "image", "labels", "alive"} and time.monotonic() < end:
            time.sleep(0.2)
        assert asked >= {"", "image", "labels", "alive"}
        time.sleep(2)
        assert thread.is_alive()
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
    thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.fixture
def served(monkeypatch):
    monkeypatch.setattr(server, "GRACE", 0.5)
    monkeypatch.setattr(server, "BEAT", 0.1)
    made = server.PageServer(Subject("title", b"image", b"labels", ()))
    thread = threading.Thread(target=made.serve)
    thread.start()
    yield made, thread
    if not thread.is_alive():
        return
    port, token = parts(made)
    leaving = http.client.HTTPConnection("127.0.0.1", port)
    leaving.request("GET", f"/{token}/alive")
    leaving.getresponse().close()
    leaving.close()
    thread.join(timeout=20)
    assert not thread.is_alive()


def parts(made):
    port, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]{32})/", made.address).groups()
    return int(port), token


def ask(made, path, host=None):
    port, _ = parts(made)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_only_who_has_the_token_is_answered(served):
    made, _ = served
    port, token = parts(made)
    other = token[:-1] + ("y" if token.endswith("x") else "x")
    assert ask(made, f"/{token}/image") == (200, b"image")
    assert ask(made, f"/{token}/labels") == (200, b"labels")
    assert b"<title>title</title>" in ask(made, f"/{token}/")[1]
    for path in (
        "/",
        "/image",
        f"/{other}/image",
        f"/{token}/other",
        f"/{token}/../etc/passwd",
        f"/{token}",
    ):
        assert ask(made, path)[0] == 404
    assert ask(made, f"/{token}/image", host=f"evil.example:{port}")[0] == 404
    assert ask(made, f"/{token}/image", host=f"localhost:{port}")[0] == 200


def test_it_stays_while_one_page_is_open(served):
    made, thread = served
    port, token = parts(made)
    first, second = (http.client.HTTPConnection("127.0.0.1", port) for _ in range(2))
    answers = []
    for connection in (first, second):
        connection.request("GET", f"/{token}/alive")
        answers.append(connection.getresponse())
    answers[0].close()
    first.close()
    time.sleep(1.5)
    assert thread.is_alive()
    answers[1].close()
    second.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    made2 = server.PageServer(Subject("again", b"", b"", ()), port=0)
    assert made2.address != made.address
    made2._server.server_close()


def test_names_cannot_leave_their_place():
    name = '</script><script>alert("x")</script>'
    row = Label(name, 1, "#E69F00", 1, 0.001, (0.0, 0.0, 0.0))
    text = "".join(page.page_in_one_file(Subject(name, b"i", b"l", (row,))))
    assert "<script>alert" not in text
    assert text.count("</script>") == 2
    assert "http-equiv" in text
    assert "connect-src data: blob:" in text


def test_without_niivue_the_message_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "msdk_rt_viewer", None)
    with pytest.raises(BackendError, match=r"pip install 'msdk_rt\[view\]'"):
        page.niivue()
