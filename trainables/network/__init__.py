"""The pose network and what makes its kernels trustworthy.

Read ``pose_net``, then ``memory_format`` (every layer is compared with plain kernels before it
trains), ``weight_file`` (published weights that a user names).
"""
