"""The profile: everything that fitting and calibration learn of a network, and the defense loads, as one file.

`detector` and `profile` hold it as values, `storage` reads and writes it, `merging` makes one of two.
It imports `evidence`, `masking` and `drift`, the errors, the files of `io` and the vote of `flags`.
"""
