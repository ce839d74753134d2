"""MLflow follows the ledger: a study's events become runs, written by a process of their own.

How an event gets there: ``harness.record.ledger`` appends it to the file and calls ``tracker``,
which keeps the process ``writer`` running. That reads the file from where the ``cursor`` stands,
and ``runs`` turns events into MLflow calls that may be repeated, with texts and figures from
``contents`` and ``note``; ``metric_sections`` names the metrics so that the charts come in a good
order, ``page`` the address that shows them; ``model`` logs the best network at the end,
``pose_pyfunc`` is what MLflow loads it by. A server that is down only delays this; nothing waits
for it.
``experiment`` and ``database`` find or create MLflow's own; ``environment`` and ``provenance`` say
with which code and libraries a run was made; ``uri_check`` checks the address before a study
starts. Used by ``study``, ``terminal``, ``replays`` and the commands.
"""
