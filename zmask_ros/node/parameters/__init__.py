"""The parameters of the nodes: one table for each node, in the module with the name of the node.

A new parameter is a new field of a table; those of `defense_node` are also documented in config/defense.yaml, and `make
docs` writes all of them into docs/node.md.
It may import flags, io and errors, and rclpy only inside the functions that declare parameters.
"""
