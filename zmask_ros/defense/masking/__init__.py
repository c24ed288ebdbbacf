"""From heat maps to the pixels that are masked: growth, rectangle completion, and the mask's edge.

Everything here makes a region on the working grid, or a mask from it, and is differentiable where an attacker would
differentiate. It imports `evidence` and nothing else of the project.
"""
