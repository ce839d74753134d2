"""What one run computes: arrays in, numbers out. No Optuna, no MLflow, no harness.

Ray is known to the two ``*_trainable`` modules alone, which are the ways in. The road of a pose,
package by package: ``config`` (all settings of a run), ``data`` (images and keypoints),
``pose_vae`` (how unusual is a pose?), ``sampling`` (which poses are trained on, and when),
``network`` and ``style`` (what is trained), ``adapt`` (how it is trained), ``evaluation`` and
``metrics`` (what came out), ``stages`` (all of this in order, with what runs share).
``tests/test_architecture.py`` lists the packages from the bottom up.
"""
