"""The diagnostics of `defense_node`.

`health` counts and assesses the frames of a camera, `network` assesses the device and the profiles, and `publisher`
publishes the assessments on /diagnostics.
Only `publisher` imports rclpy, and torch is imported only while a device is assessed.
"""
