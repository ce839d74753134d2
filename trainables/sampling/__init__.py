"""Which source samples an epoch draws: bins, hard mining, curricula and controls.

Read ``bins`` (scores to bins), ``schedule`` (pacing functions), ``sampler`` (weights of every
epoch), ``exposure`` (how a run's draws are spread over difficulty).
"""
