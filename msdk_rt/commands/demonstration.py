"""The demo: the whole path on a real brain, from checkpoint and NIfTI file to labels and a picture."""

import importlib.util
import time
from pathlib import Path

import numpy as np

from msdk_rt.artifact.files import atomic_write, check_writable
from msdk_rt.cohort.volumes import voxel_counts
from msdk_rt.commands.extras import check_extra
from msdk_rt.commands.info import parity_lines
from msdk_rt.commands.terminal import shows_bars
from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import save
from msdk_rt.imaging.nifti import NiftiHeader
from msdk_rt.imaging.space import Space
from msdk_rt.imaging.volumes import read_volume
from msdk_rt.inference.labels import dice
from msdk_rt.segmenter import Segmenter


def run_demo(folder: Path, weights: Path | None = None, threads: int | None = None) -> None:
    """Write t1.nii.gz, model.onnx, labels.nii.gz, overlay.png and view.html, and print what was measured.

    weights: a checkpoint with one channel; default: the package's own, tissue classes from T1. Labels of that
    name are compared with the MNI152 tissue maps. Needs the extra msdk_rt[demo].
    Raises BackendError when that is not installed, and whatever export and Segmenter raise.
    """
    check_extra("the demo", ("nilearn", "matplotlib", "torch", "onnx"), "demo")
    check_writable(folder)
    t1 = _write_template(folder / "t1.nii.gz")

    from msdk_export.demo_network import export_demo, reference_labels

    manifest = export_demo(folder / "model.onnx", weights, progress=shows_bars())
    if len(manifest.channels) != 1:
        raise InputError(
            f"the demo volume has one channel (T1), the model takes {', '.join(manifest.channels)}"
        )

    with Segmenter(folder / "model.onnx", threads=threads) as segmenter:
        start = time.perf_counter()
        segmentation = segmenter.run(t1, progress=shows_bars())
        seconds = time.perf_counter() - start
        windows = segmenter.count_windows(segmentation.space.to_model(segmentation.labels).shape)
        providers, used = ", ".join(segmenter.providers), segmenter.threads
    segmentation.save(folder / "labels.nii.gz")

    from msdk_rt.imaging.overlay import draw_overlay

    space = segmentation.space
    draw_overlay(
        read_volume([t1]).data[0],
        space.to_model(segmentation.labels),
        manifest.labels,
        f"MNI152 T1, segmented by {manifest.family}",
        folder / "overlay.png",
    )
    print(f"model     {manifest.family}, weights: {weights or 'those of the package'}")
    for name, line in parity_lines(manifest).items():
        print(f"parity    {name} window against PyTorch: {line}")
    shape = " x ".join(map(str, segmentation.labels.shape))
    print(
        f"latency   {seconds:.2f} s for {shape} voxels, reading and normalising included: {windows} windows "
        f"of {' x '.join(map(str, manifest.window))}, {windows / seconds:.2f} windows/s, {providers}, "
        f"{used} threads"
    )
    reference, tissues = reference_labels()
    comparable = manifest.labels == tissues
    known = dice(space.to_model(segmentation.labels), reference, tissues) if comparable else {}
    for name, count in voxel_counts(segmentation, manifest.labels).items():
        agreement = f", Dice {known[name]:.3f} against the MNI152 maps" if name in known else ""
        print(f"label     {name}: {count['voxels']} voxels, {count['ml']:.1f} ml{agreement}")
    print(f"results   {folder / 'labels.nii.gz'}, {folder / 'overlay.png'}")
    print(f"look      {_address_of_page(folder, t1, manifest.labels)}")


def _write_template(path: Path) -> Path:
    """nilearn's MNI152 T1 at 1 mm as a NIfTI file, as a scanner's export would be."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    space = Space(image.affine, image.shape, header=NiftiHeader(type(image), image.header))
    save(np.asarray(image.dataobj, np.float32), space, path)
    return path


def _address_of_page(folder: Path, image: Path, labels: dict[str, int]) -> str:
    """Write the page that shows the result; its address, or what to install for it."""
    if importlib.util.find_spec("msdk_rt_viewer") is None:
        return f"pip install ./plugins/viewer; msdk-rt view {folder / 'labels.nii.gz'} --image {image}"
    from msdk_rt.viewer.page import page_in_one_file
    from msdk_rt.viewer.subject import Found, load

    page = folder / "view.html"
    with atomic_write(page, "w") as file:
        file.writelines(page_in_one_file(load(Found(image, folder / "labels.nii.gz", labels))))
    return page.resolve().as_uri()
