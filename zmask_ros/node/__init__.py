"""The ROS 2 nodes: one module for each executable, and the parts that these modules share.

`parameters` holds the parameter tables, and `diagnostics` assesses what is published on /diagnostics.
It may import runtime, flags and the rooms below them, but not training, attacks or evaluation; only this room imports
rclpy.
"""
