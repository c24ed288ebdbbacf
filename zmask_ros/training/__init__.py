"""From clean drives to a profile: division, layer selection, adversarial training, fusion, thresholds, figures.

`pipeline`, `screening` and `preparation` are the chains that go through these steps; `settings` is what can be chosen
about them. It may import attacks, defense, data and what these stand on; never evaluation, node, cli or the street
world.
"""
