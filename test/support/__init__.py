"""What tests share: small networks, bags, processes, and slow, obvious versions of what is fast."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
"""This folder is on the path of processes that tests start, for networks that live here."""
ROOT = TESTS.parent
"""The checkout."""
