"""What one run computes: arrays in, numbers out. No Optuna, no MLflow, no harness.

The two ``*_trainable`` modules are the entry points; only they import Ray. Read the packages along
the road of a pose: ``config`` (all settings of a run), ``data`` (images and keypoints),
``pose_vae`` (how unusual is a pose?), ``sampling`` (which poses an epoch trains on), ``network``
and ``style`` (what is trained), ``adapt`` (how it is trained), ``evaluation`` and ``metrics`` (the
results), ``stages`` (all of this in order, with the parts that runs share), ``predict`` (the poses
in a user's photographs, by a trained network). Used throughout: ``seeding``, ``checkpoint``
(written whole, checked by digest), ``full_disk`` (is an error a full disk?), ``watchdog``,
``fingerprint`` (of the code), ``distributed`` (several devices).
``registry`` imports a user's plugins and is where names such as ``regda`` get their code;
``builtins`` lists all that are built in. ``tests/test_architecture.py`` lists the packages from
the bottom up.
"""

import trainables.builtins  # noqa: F401 - the names are known from the first import on
