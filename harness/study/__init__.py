"""One study from its spec to its end.

Read ``follow`` (the ledger and those who watch it), ``engine`` (Ray, Optuna and the limits around
Tune's loop), ``tune_adapters`` (that loop's questions, answered by ``optuna_study.bridge``). A run
goes through these states: *asked* (Optuna suggested its configuration), *running* (a Ray actor
trains it), *reported* (after each epoch; it may be stopped here), *finished* (complete, pruned,
failed or stopped), and then the result goes to Optuna. ``open`` starts or resumes a study,
``launch`` is what it is started with beside its file, ``limits`` ends it, ``preflight`` looks at
data and machine first, ``image_progress`` tells how far the images of the data sets are,
``best_model`` keeps the best trial's network, ``study_report`` has the report written. Used by the
commands alone.
"""
