"""The demo: a drive through the street world past an adversarial patch, with real ROS 2 nodes, and its figures.

`run` is the whole demo, `drive` runs the nodes as processes, and `measure` compares what they published with the truth.
It may import every room but cli; of node, and so of rclpy, only `flag_watch`.
"""
