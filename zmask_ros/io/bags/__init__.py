"""Recorded drives: bags of ROS 2 and ROS 1 are read, also damaged ones, and bags of ROS 2 are written.

`opening` finds and opens the files of a bag, `recovery` reads those without an index, and `segmented` writes an endless
recording.
It may import `io.images`, stamps, errors and resources.
"""
