"""Which source samples an epoch draws: bins, hard mining, curricula and controls.

Read ``bins`` (scores to bins), ``schedule`` (pacing functions), ``sampler`` (sample weights of an
epoch), ``exposure`` (how a run's draws are spread over difficulty).
"""
