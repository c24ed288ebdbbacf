"""A network on an inference engine: exported as ONNX graphs, cut where a defense looks and acts, run by ONNX Runtime.

`cutting` makes the graphs, `graphs` keeps them in files, `sessions` runs them, and `network` puts them together to a
module whose layers can be tapped, and changed on the way, as those of the network that they come from.
"""
