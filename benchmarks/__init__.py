"""Benchmarks: equality first, then alternating timings against peers, then a table."""
