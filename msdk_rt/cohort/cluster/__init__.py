"""Segments a cohort on the machines of a Ray cluster."""
