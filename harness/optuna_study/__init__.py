"""Optuna in step with the ledger: which trial next, when to stop one, how it ended.

Read ``bridge``, the only owner of ask and tell, with ``proposals`` (the next configuration) and
``outcomes`` (what has become of each trial, from the ledger's events). ``samplers`` and
``pruners`` build Optuna's; ``stored_study`` and ``stored_trials`` are its database;
``continuation`` asks whether a study on disk is the one of the file; ``queued_trial`` takes trials
that a person queued; ``optuna_private`` holds all that is used of Optuna beyond its public
interface. Used by ``study``.
"""
