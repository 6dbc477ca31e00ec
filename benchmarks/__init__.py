"""One module a question; `python -m benchmarks` asks them all. Cases and models are shared with the tests."""
