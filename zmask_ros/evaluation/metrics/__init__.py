"""Figures of segmentation and of detection, with their confidence intervals, and the records that they follow from.

Everything here is numpy on the CPU, with ROC curves from scikit-learn and exact intervals from scipy.
It imports nothing of the project.
"""
