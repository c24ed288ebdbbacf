"""Image messages, picture files and videos as uint8 RGB arrays.

The codec takes the messages of any library, by their fields; a new raw encoding is a new entry of `pixel_layouts`.
It may import errors only.
"""
