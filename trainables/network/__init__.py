"""The pose network, and the check that this machine computes it correctly.

Read ``pose_net``, ``memory_format`` (compares every layer with plain kernels before it trains),
``weight_file`` (published weights that a user names).
"""
