"""MLflow follows the ledger: a study's events become runs, written by a process of their own.

The road of an event: ``harness.record.ledger`` appends it to the file and calls ``tracker``, which
wakes the process ``writer``. That reads the file from where the ``cursor`` stands, ``runs`` turns
events into MLflow calls that may be repeated, with texts and figures from ``contents`` and
``note``. A server that is down only delays this; nothing waits for it. ``experiment`` and
``database`` find or create MLflow's own; ``environment`` and ``provenance`` say with which code
and libraries a run was made; ``uri_check`` looks at the address before a study starts. Used by
``study``, ``terminal`` and ``replays``.
"""
