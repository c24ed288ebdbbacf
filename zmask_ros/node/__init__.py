"""The ROS 2 nodes: parameters, topics, messages, diagnostics. Thin: everything that thinks is elsewhere.

Nothing is re-exported here, so that the parts without rclpy import on a machine without ROS.
"""
