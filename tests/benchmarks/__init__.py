"""Timings, kept apart from the tests: `make bench`, or `python -m tests.benchmarks [--data FOLDER]`."""
