"""The pose network, and the check that this machine computes it correctly.

Read ``pose_net``, ``efficientnet_lite`` (its other backbone), ``memory_format`` (compares every
layer with plain kernels before it trains), ``weight_file`` (published weights: a file that a user
names, or an installed package).
"""
