"""The ROS 2 nodes, each a module with the name of its executable, and what they are made of.

`parameters/` holds one table of parameters a node, `diagnostics/` what /diagnostics says. This room may import
`runtime`, `flags` and what lies below those, never `training`, `attacks` or `evaluation`; nobody else imports rclpy.
Nothing is re-exported, so that the parts which need no ROS import on a machine without it.
"""
