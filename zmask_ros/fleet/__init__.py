"""Many bags on many machines: where they lie, who works on them, and what a fleet's results are put together from.

Ray does the scheduling; it is imported only where `zmask ... --ray` is called.
"""
