"""What the activations of a network say of an image: clean statistics, over-activation, the fusion block and the head.

Everything here works on the tapped activations of one forward pass and ends in heat maps, a soft mask and a score.
It imports nothing of the project but its errors.
"""
