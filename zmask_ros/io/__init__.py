"""What is read from files and written to files: images, videos, bags, Markdown tables, and the stamps of ROS headers.

`images` converts messages and picture files to RGB arrays and back; `bags` reads and writes recorded drives.
It may import flags, errors and resources, and needs neither torch nor rclpy.
"""
