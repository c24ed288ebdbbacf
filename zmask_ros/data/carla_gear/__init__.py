"""Sets of driving scenes with a known billboard, in the layout in which CARLA-GeAR is published.

`reader` and `writer` know the layout, `poses` the axes, `from_street` makes scenes out of drives through the street
world. This room may import io and the rest of data; `from_street` is imported by its full name, so that reading a set
does without the street world.
"""
