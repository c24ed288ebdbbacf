"""The frames of one camera: from the message to the result, the flag, the pictures, and the bag that a replay writes.

The node, `zmask replay`, the evaluation and the demo process their frames with it.
It may import defense, segmenters, io and flags, but not attacks, training, evaluation, node or cli.
"""
