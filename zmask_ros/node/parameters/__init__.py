"""The parameters of the nodes: one table a node, in the file of the node's name.

A new parameter is a new field of its node's table; for `defense_node` it is documented in config/defense.yaml as well,
and `make docs` writes it into docs/node.md. `spec` declares tables, `cameras` reads the cameras from one, `docs` prints
them. rclpy is imported only where a table is declared, and nothing here imports torch.
"""
