"""What a study will cost, before it starts: ``--dry-run``.

Read ``plan`` (the sums, and what the user sees), ``trials`` (what the study can run),
``measuring`` (a few real steps of a trial), ``capacity`` (has the machine enough?). Used by
``harness.run``.
"""
