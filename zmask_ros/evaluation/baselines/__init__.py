"""What an evaluation compares behind one interface: no defense, ours, and other people's from their papers.

A new baseline is a class with the interface of `interface.py` and one entry in `registry.py`.
It may import the defense, the runtime, segmenters, the training's threshold rule and `metrics/`.
"""
