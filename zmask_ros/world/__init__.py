"""Where images come from: image codecs, bags, datasets, pictures and the street world.

Import the submodules by name (``from zmask_ros.world.bags import CameraBags``): reading a bag or encoding an
image must not load what only the others need.
"""
