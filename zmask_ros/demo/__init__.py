"""The demo: a drive through the street world past an adversarial picture, by real ROS 2 nodes, and its figures.

`run` is the whole of it; `drive` starts the nodes as processes, `measure` compares what they published with the exact
truth. It may import every room but `cli`; of `node`, and so of rclpy, only what follows the flags of a drive.
"""
