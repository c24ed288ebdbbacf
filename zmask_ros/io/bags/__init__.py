"""Recorded drives: bags of ROS 2 and ROS 1 are read, whole or damaged; bags of ROS 2 are written, at once or for ever.

A reader opens a bag (`opening`) through its index, or scans it where that is lost (`recovery`).
Imports `io.images`, stamps, errors and resources; it knows no message type but images and camera infos.
"""
