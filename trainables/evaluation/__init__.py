"""Evaluates a network after an epoch: metrics with labels, validators without, controls.

Read ``judge`` (all reported metrics), ``evaluate`` (a network's keypoints and their metrics),
``validation`` (label-free validators), ``predictions`` (those of the last epoch, as a file).
Only this package and the oracle read target labels.
"""
