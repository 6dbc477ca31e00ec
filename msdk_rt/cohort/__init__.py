"""A run over many cases: finds them (plan), segments each (run), reports the outcome (report)."""
