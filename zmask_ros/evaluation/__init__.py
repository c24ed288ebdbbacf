"""Measures how well the defense works: metrics, baselines to compare with, attack evaluations, and running times.

`metrics/` computes figures, `baselines/` holds what is compared, `protocol/` runs a plan, `report/` turns its records
into tables and plots, and `performance/` times the defense.
It may import every room of the package but `node/`, `demo/`, `cli/` and `launching/`.
"""
