"""The Pose VAE: how unusual is a pose?

Read ``normalise`` (the coordinates it sees), ``model``, ``fit`` (equation 1), ``score`` (equation
2, and how far to trust it), ``pose_scorer`` (scores of poses with hidden joints).
"""
