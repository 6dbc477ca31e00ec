"""Checks of what a release consists of."""
