"""What the nodes say on /diagnostics.

`health` counts what happens to a camera's frames and judges it, `network` judges the device and the profiles, and
`publisher` sends what they say. Only `publisher` imports rclpy; torch is imported only while a device is judged.
"""
