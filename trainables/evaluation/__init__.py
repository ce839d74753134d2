"""Evaluates a network after an epoch: metrics with labels, validators without, controls.

Read ``judge`` (all reported metrics), ``evaluate`` (a network's keypoints and their metrics),
``validation`` (label-free validators), ``predictions`` (those of the last epoch, as a file).
Target labels are read here, by the reference Pose VAE that sorts target poses into bins
(``stages``), and by the oracle, which alone trains on them.
"""
