"""Which source samples an epoch draws: bins, hard mining, curricula and controls.

Read ``bins`` (scores to bins), ``difficulty_view`` (what a strategy may look at), ``schedule``
(pacing functions), ``strategies`` (the built-in ones), ``sampler`` (weights of an epoch, and
draws), ``exposure`` (how a run's draws are spread over difficulty).
"""
