"""What the launch files share: the tables of their arguments, and the parameters and actions that follow from them.

Only `actions` imports launch; the other modules can be tested without ROS.
It may import errors only.
"""
