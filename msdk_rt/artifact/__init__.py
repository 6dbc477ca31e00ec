"""An exported model on disk: its manifest, the checks before a library reads it, atomic files and locks."""
