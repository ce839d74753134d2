"""What a study keeps on disk, and the ledger that everything else follows.

Read ``ledger`` (every event of a study, one JSON line each), ``storage`` (which file lies where),
``run_report`` (one report of a run), ``study_result`` (how a study ended). ``full_disk`` waits for
space, ``masking`` hides passwords, ``outage`` is the error for a machine that fails,
``quantities`` reads and writes sizes and durations, ``field_text`` writes fields of a trial in few
characters, ``whole_database`` creates SQLite databases, ``lock_note`` tells who holds a lock.
Knows neither Ray, Optuna nor MLflow. Any package but ``yaml`` may import it.
"""
