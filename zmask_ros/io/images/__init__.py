"""Image messages, picture files and videos, as uint8 RGB arrays.

The codec is our own, so that no frame depends on cv_bridge; it takes messages of any library by their fields.
Imports `zmask_ros.errors` alone.
"""
