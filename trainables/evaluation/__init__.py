"""Evaluates a network after an epoch: metrics with labels, validators without, controls.

Read ``judge`` (all reported metrics), ``evaluate`` (predictions and their metrics),
``validation`` (label-free validators). Only this package and the oracle read target labels.
"""
