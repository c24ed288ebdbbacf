"""Z-Mask on a vehicle: finds, masks and reports adversarial patches in a camera stream."""

import pkgutil

# The messages are generated into an installed package of the same name: a source checkout finds them there.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
