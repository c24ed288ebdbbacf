"""The command line: `zmask COMMAND`, a module with a `command` for each, listed in `main`.

A command turns options into one call of the room that does the work, and prints what comes back; `console` and
`options` are what commands share. It may import every room, and no room imports it.
"""
