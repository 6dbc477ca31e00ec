"""A quick slice of every campaign that `make reliability` runs in full; attacks have their own tests."""

import pytest

from tests.reliability import concurrency, endurance, fuzzing, kills, report, starvation
from tests.reliability.__main__ import CAMPAIGNS


@pytest.fixture(scope="module")
def seeds():
    with fuzzing.seeds() as folder:
        yield folder


@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_fuzzing(kind, seeds):
    row = fuzzing.fuzz(kind, fuzzing.QUICK, seeds)
    print(row)
    assert row.failures == 0
    assert row.times == fuzzing.QUICK


@pytest.mark.parametrize("campaign", [concurrency, endurance, kills, starvation])
def test_quick_slice(campaign):
    rows = list(campaign.main(quick=True))
    print(*rows, sep="\n")
    assert all(row.times > 0 for row in rows)
    assert sum(row.failures for row in rows) == 0


def test_the_page_shows_the_last_run(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
    for failures in (3, 0):
        report.record("fuzzing", [report.Row("a volume", 5, failures, f"{failures} of five")])
    report.write(CAMPAIGNS)
    page = (tmp_path / "page.md").read_text()
    assert "| a volume | 5 | 0 | 0 of five |" in page
    assert "3 of five" not in page
    assert "no signal, no hang" in " ".join(page.split())


def test_quick_slice_of_the_server():
    pytest.importorskip("fastapi", reason="the server's packages are not installed")
    pytest.importorskip("msdk_rt_viewer", reason="NiiVue is not installed: pip install ./plugins/viewer")
    from tests.reliability import server

    rows = list(server.main(quick=True))
    print(*rows, sep="\n")
    assert sum(row.failures for row in rows) == 0
    assert len(rows) == 12
