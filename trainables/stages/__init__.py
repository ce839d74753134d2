"""A run as a path through stages, each computed once for all runs that need the same.

Read ``protocol`` (what is asked of a stage cache), ``data_stages`` (images, Pose VAE and scores),
``style_stage``, ``trial_stages`` (all stages of a run in order), ``staged_run`` (pre-training and
training as stages). ``pretrain_key`` and ``training_key`` say what these two depend on;
``digests`` are those of files.
"""
