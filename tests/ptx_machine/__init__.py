"""Executes the PTX that nvcc emits, on a CPU with checked memory: see README.md."""
