"""What the launch files share: their arguments, what these come to, and the actions that are started.

Only `actions` imports launch; everything else needs neither ROS nor launch, and imports nothing of ours but `errors`.
"""
