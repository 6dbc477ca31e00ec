"""The server's page in a real browser: a file is given, the bar followed, the labels seen and saved."""

import pytest

from tests.runtime.server.conftest import write_scan
from tests.support.browser import CHROMIUM, browser
from tests.support.served import TOKEN

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no browser here")
STATUS = "document.getElementById('status').textContent"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@needs_browser
def test_a_volume_is_dropped_segmented_and_shown(page, server, scans):
    page.open(f"{server.url}/#{TOKEN}")
    page.wait("document.body.dataset.ready === 'true'")
    assert page.value("location.href") == f"{server.url}/"  # the token is not left in the address
    assert page.value("document.getElementById('channels').textContent") == "takes m0"
    page.choose("#files", scans[0])
    page.wait("!document.getElementById('start').disabled")
    page.value("document.getElementById('start').click()")
    page.wait(f"{STATUS}.startsWith('Done: class0')")
    frame = "document.getElementById('view').contentDocument"
    page.wait(f"{frame} && {frame}.body && {frame}.body.dataset.ready === 'true'")
    assert "class1" in page.value(f"{frame}.getElementById('labels').textContent")
    size = "(async () => (await (await ask('GET', `jobs/${job.id}/result`)).blob()).size)()"
    assert page.value(size) > 100
    assert {address.split("/")[2] for address in page.requests if address.startswith("http")} == {
        f"127.0.0.1:{server.port}"
    }
    page.value("ask('DELETE', `jobs/${job.id}`).then(() => true)")
    assert server.left() == []


@needs_browser
def test_a_job_is_cancelled_and_a_refusal_is_shown(page, server, scans, tmp_path):
    page.open(f"{server.url}/#{TOKEN}")
    page.wait("document.body.dataset.ready === 'true'")
    page.choose("#files", write_scan(tmp_path / "large.nii", 1, (90, 80, 70)))
    page.wait("!document.getElementById('start').disabled")
    page.value("document.getElementById('start').click()")
    page.wait(f"{STATUS}.startsWith('Window')")
    assert page.value("document.getElementById('bar').value") <= 1
    page.value("document.getElementById('cancel').click()")
    page.wait("!document.getElementById('start').disabled")
    assert page.value("document.getElementById('status').classList.contains('failed')")
    page.choose("#files", scans[0], scans[1])
    page.wait("chosen.length === 2")
    page.value("document.getElementById('start').click()")
    assert "got 2 file(s)" in page.wait(f"{STATUS}.includes('got 2') && {STATUS}")
    assert server.left() == []


@needs_browser
def test_without_the_token_it_asks_for_it(page, server):
    page.open(f"{server.url}/#wrong")
    page.wait("document.getElementById('login') && !document.getElementById('login').hidden")
    assert page.value("document.getElementById('case').hidden")
    page.value(f"document.getElementById('token').value = '{TOKEN}'")
    page.value("document.querySelector('#login button').click()")
    page.wait("document.body.dataset.ready === 'true'")
