"""Finalists of a search, trained again with fresh seeds and judged on the test split.

Read ``finalists`` (which ones), ``confirmation_study`` (the study that trains them); what it shows
is in ``harness.results.verdict``. Used by ``harness.confirm``.
"""
