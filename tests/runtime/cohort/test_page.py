"""volumes.tsv and qc.html: outliers, order, escaping, and a real browser that sorts."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from msdk_rt.cohort.page import page
from msdk_rt.cohort.report import Line, volumes_table
from msdk_rt.cohort.volumes import robust_scores
from msdk_rt.imaging.picture import SIDE, three_planes
from msdk_rt.imaging.space import Space
from tests.runtime.cohort.folders import run, write_scan

LABELS = {"background": 0, "tumour": 1}


def line(name, ml, **more):
    labels = {label: {"voxels": round(ml * 1000), "ml": ml} for label in LABELS}
    record = {"labels": labels, "spacing_mm": [1, 1, 2.5], "warnings": more.pop("warnings", [])}
    return Line(name, record=record, **more)


def test_robust_scores():
    volumes = [*np.linspace(90, 110, 21), 400.0]
    scores = robust_scores(volumes)
    assert scores[-1] > 10
    assert max(map(abs, scores[:-1])) < 3.5
    assert robust_scores([1.0, 2.0, 99.0, 3.0]) == [0.0] * 4  # too few to tell
    assert robust_scores([5.0] * 9) == [0.0] * 9
    assert robust_scores([0.0] * 9 + [50.0])[-1] > 3.5  # a lesion that all others lack


def test_table():
    lines = [line("a", 1.5, warnings=["spacing\tfar off"]), Line("b", error="is a\nfolder")]
    assert volumes_table(lines).splitlines() == [
        "case\tlabel\tvoxels\tml\tspacing\twarnings",
        "a\tbackground\t1500\t1.5\t1x1x2.5\tspacing far off",
        "a\ttumour\t1500\t1.5\t1x1x2.5\tspacing far off",
        "b\tn/a\tn/a\tn/a\tn/a\tis a folder",
    ]


def test_an_unusual_volume_comes_first(artifact, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    for index in range(7):
        write_scan(scans / f"{index}.nii.gz", index, shape=(9, 10, 11) if index != 4 else (30, 30, 30))
    assert run(artifact, scans, "-o", tmp_path / "out") == 0
    table = (tmp_path / "out" / "volumes.tsv").read_text()
    assert re.search(r"^4\tclass1\t.*class1: [\d.]+ deviations above the cohort's median$", table, re.M)
    text = (tmp_path / "out" / "qc.html").read_text()
    assert re.findall(r'<th scope="row">(\d)</th>', text) == list("4012356")
    assert text.count('class="number flag"') == 1


def test_nothing_in_a_name_is_markup():
    text = "".join(page([line("<script>x</script>", 1.0), Line('"<b>', error="<i>")], LABELS))
    assert "<script>x" not in text
    assert "<b>" not in text
    assert "<i>" not in text


def test_a_case_takes_less_than_60_kilobytes(tmp_path):
    """Of noise, which compresses worst."""
    noise = np.random.default_rng(0).standard_normal((160, 160, 160), np.float32)
    labels = (noise > 0).astype(np.uint8)
    picture = tmp_path / "a.png"
    picture.write_bytes(three_planes(noise, labels, Space(np.eye(4), noise.shape), [1]))
    assert len("".join(page([line("a", 1.0, picture=picture)] * 10, LABELS))) / 10 < 60_000


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome, which no package index has")
def test_a_browser_sorts(tmp_path):
    """By the keyboard: Enter on a head's button. The page's own policy lets the pictures show."""
    image = np.zeros((5, 5, 5), np.float32)
    picture = tmp_path / "a.png"
    picture.write_bytes(three_planes(image, image.astype(np.uint8), Space(np.eye(4), image.shape), []))
    lines = [line(name, ml, picture=picture) for name, ml in (("a", 9.0), ("b", 100.0), ("c", 20.5))]
    press = """<script>
    const head = document.querySelectorAll("thead button")[1];
    const names = () => [...document.querySelectorAll("tbody th")].map(cell => cell.textContent).join("");
    head.focus(); head.click(); const up = names();
    head.click(); const down = names();
    const width = document.images[0].decode().then(() => {
      document.title = [up, down, document.activeElement === head, document.images[0].naturalWidth].join(" ");
    });
    </script>"""
    (tmp_path / "qc.html").write_text("".join(page(lines, LABELS)) + press)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    place = f"file://{tmp_path / 'qc.html'}"
    command = [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert f"<title>acb bca true {3 * SIDE}</title>" in done.stdout
