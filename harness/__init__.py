"""Runs studies: the only code that knows Optuna and MLflow, and nearly all that knows Ray.

The modules here are the commands: ``python -m harness.run``, ``confirm``, ``replay``, ``ui``,
``stages`` and ``spec``. Each reads its arguments and hands over to the packages below it. In the
order in which a study meets them:

1. ``yaml``, ``space``, ``spec``: from the study's file to a checked :class:`StudySpec`.
2. ``study``: one study from its spec to its end. Start reading here: ``engine`` shows the whole.
3. ``optuna_study``: which trial next, and when to stop one. ``nodes``: where Ray runs.
4. ``record``: the ledger, which every other view of a study follows; ``stage_cache``: what trials
   share.
5. ``mlflow_tracking``, ``terminal``, ``results``: what people see.
6. ``forecast`` (``--dry-run``), ``confirmation``, ``replays``: questions about a study.

``tests/test_architecture.py`` lists the packages from the bottom up; each may import only those
before it, and anything of ``trainables``.
"""
