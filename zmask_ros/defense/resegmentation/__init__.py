"""Re-segmentation: what stands in for masked pixels, and how the network runs again with little of it repeated.

A stem is the first part of a network, whose output holds away from the mask; it is searched once for each network.
It imports `evidence`, `masking` and the protocol of a segmentation network, and nothing else of the project.
"""
