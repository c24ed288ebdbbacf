"""From the records of an evaluation to figures, targets, tables, plots, JSON and one HTML page.

`figures.py` holds the typed figures, `summary.py` computes them, and the other modules only show them.
It may import `metrics/` and `protocol/`, and nothing here runs a network but the pictures of the HTML page.
"""
