"""The calls that a user would make with the files in the folder."""

from pathlib import Path


def segment(folder: str, model: str, scan: str) -> None:
    """Open the model, segment the scan, save the labels as out.nii.gz."""
    from msdk_rt.segmenter import Segmenter

    with Segmenter(Path(folder, model)) as segmenter:
        segmenter.run(Path(folder, scan)).save(Path(folder, "out.nii.gz"))


def export(folder: str, checkpoint: str) -> None:
    """Export the checkpoint as out.onnx."""
    import msdk_rt

    msdk_rt.export(
        Path(folder, checkpoint),
        Path(folder, "out.onnx"),
        window=(16, 16, 16),
        channels=["t1"],
        labels={"background": 0, "lesion": 1},
    )


def load(folder: str, checkpoint: str) -> None:
    """Build the network of the checkpoint, which is where an attack of the checkpoints ends."""
    from msdk_export.checkpoints import build_model, load_checkpoint

    weights, description = load_checkpoint(Path(folder, checkpoint))
    build_model(description, weights)
