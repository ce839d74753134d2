"""The Pose VAE: scores how unusual a pose is.

Read ``normalise`` (its input coordinates), ``model``, ``fit`` (equation 1), ``score`` (equation 2,
and how far to trust it), ``pose_scorer`` (scores of keypoints in pixels, hidden joints included).
"""
