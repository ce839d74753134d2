"""Optuna in step with the ledger: which trial next, when to stop one, how it ended.

Read ``bridge``, the only owner of ask and tell, with ``suggestions`` (the next configuration) and
``outcomes`` (how each trial stands and ends, from the ledger's events). ``samplers`` and
``pruners`` build Optuna's; ``stored_study`` and ``stored_trials`` are its database;
``continuation`` checks that a study on disk is the one that its file describes; ``queued_trial``
reads trials that the user queued; ``optuna_private`` holds all that is used of Optuna beyond its
public interface. Used by ``study``.
"""
