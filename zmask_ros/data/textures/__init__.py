"""Pictures made from a seed: adverts, foliage, random fields, and benign pictures as large as a patch.

The street world is painted with them, and the defense is trained on the benign ones. This room may import numpy and
OpenCV alone; `benign` is imported by its full name, so that the street world does without it.
"""
