"""Driving images that come with labels: CamVid, CARLA-GeAR's sets, the simulated street, and textures for patches.

Bags of drives with their truth are recorded from them by `drives`. This room may import io, segmenters, progress and
errors; the street world never imports the defense.
"""
