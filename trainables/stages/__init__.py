"""A run as a sequence of stages; trials that need the same stage share its result.

Read ``protocol`` (the interface of a stage cache), ``data_stages`` (images, Pose VAE and scores),
``style_stage``, ``trial_stages`` (all stages of a run in order), ``cached_run`` (training that is
shared like a stage), ``cache_keys`` (what shared training depends on), ``digests`` (digests of
files), ``binned_poses`` (poses in the bins of a run), ``bin_sheet`` (a picture of them).
"""
