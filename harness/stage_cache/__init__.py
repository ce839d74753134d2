"""Stages on disk: what one trial has computed, others of any study and node reuse.

Read ``cache`` (ask for a stage, or compute it), ``entry`` (one stage's folder), ``locks`` (who
computes it), ``manifest`` (is it whole?), ``cleaning`` (``harness.stages prune``). Implements
:mod:`trainables.stages.protocol`. Used by ``study``, ``forecast`` and the command ``stages``.
"""
