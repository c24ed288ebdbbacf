"""One camera's frames: from the message to the result, the flag, the pictures, and the bag that a replay writes.

The node, `zmask replay`, the evaluation, the demo and the tests all walk this way.
Imports defense, segmenters, io and flags; never attacks, training, evaluation, node or cli.
"""
