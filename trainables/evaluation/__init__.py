"""A network judged after an epoch: metrics with labels, validators without, controls.

Read ``judge`` (everything that is reported), ``evaluate`` (predictions and their metrics),
``validation`` (label-free). Target labels are read here and by the oracle, nowhere else.
"""
