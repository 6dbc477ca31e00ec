"""Lets the reference find msdk_export, which the repository keeps in export/, by a link in build/typing."""

from pathlib import Path


def on_config(config):
    """mkdocs calls this before it reads a page."""
    root = Path(config.config_file_path).parent
    link = root / "build" / "typing" / "msdk_export"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(root / "export")
    return config
