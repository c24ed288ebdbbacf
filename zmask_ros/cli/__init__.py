"""The command line: `zmask ...`."""
