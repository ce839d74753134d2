"""What a study will cost, before it starts: ``--dry-run``.

Read ``plan``, then ``measuring`` (a few real steps), ``costs`` and ``trial_pool`` (what each run
would take), ``simulation`` (the study played through), ``capacity`` (does the machine have it?).
Used by ``harness.run``.
"""
