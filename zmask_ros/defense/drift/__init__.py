"""Drift: whether what a camera sees still looks to the network as the clean drives of the profile did.

`observation` keeps running means of a few layers over a camera's clean frames, and `reference` says how far they are
from the clean drives. No verdict depends on it. It imports `evidence` and what the flags say of drift.
"""
