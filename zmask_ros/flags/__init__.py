"""The `Flag` of a camera frame and how it is made, the rule that raises an alarm, and the names of topics.

The messages of the node, the bag and the figures of `zmask replay`, and the recorder are views of the same `Flag`.
It may import errors only, and needs neither torch nor rclpy.
"""
