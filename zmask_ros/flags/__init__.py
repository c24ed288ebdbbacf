"""What is said of a camera frame: the `Flag` and how it is made, the alarm over several frames, names of topics.

The node's messages, the bag and the figures of `zmask replay`, and the recorder are views of that one value.
Imports nothing of ours but `zmask_ros.errors`, and neither torch nor rclpy.
"""
