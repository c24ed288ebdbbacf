"""What the defense costs in time, how that grows, and how streaming mode compares with full analysis.

`timing.py` times two computations in turn on equal inputs; all ratios of this room come from it.
It may import the defense, the runtime, data, training, `metrics/` and the tables of `report/`.
"""
