"""What is read and written: images, bags, and other files, with the stamps of ROS headers.

`images` turns messages and picture files into RGB arrays and back; `bags` reads, writes and records drives.
Imports flags, and errors and resources at the root; neither torch nor rclpy, directly or through others.
"""
