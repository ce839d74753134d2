"""What a run of one configuration costs: a few real steps of each of its stages, timed.

Read ``measurement`` (the figures), ``measure`` (how they are taken), ``sampled_stages`` (the
stages of a run on a few images). Used by ``harness.forecast``.
"""
