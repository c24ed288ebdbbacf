"""The defense over time: a screen for most frames of a clean drive, and one pass for frames with a known patch.

All that is remembered of a camera is one `CameraState` that goes in and comes out; the network keeps none of it.
It imports everything else of `defense`, and from `flags` how long a gap between two frames may be.
"""
