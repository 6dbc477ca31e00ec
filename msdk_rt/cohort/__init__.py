"""A run over many cases: which there are (plan), each of them segmented (run), what came of it (report)."""
