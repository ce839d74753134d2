"""The stage cache: what one trial has computed is reused by trials of any study, on any node.

A hit reuses an entry; a miss computes it. Read ``cache`` (get a stage), ``entry`` (one stage's
folder), ``locks`` (which process computes it), ``manifest`` (is it undamaged?), ``cleaning``
(``harness.stages prune``). Implements :mod:`trainables.stages.protocol`. Used by ``study``,
``forecast`` and the command ``stages``.
"""
