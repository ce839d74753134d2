"""Where Ray runs: on this machine for one study, or on a cluster that the study joins.

Read ``cluster``, then ``local_ray`` (a Ray of the study's own), ``run_slots`` (how many runs
fit), ``shared_storage`` (do all nodes see the same files?), ``worker_deaths`` (why a process
died), ``thread_waits`` (how a run's threads wait). ``ray_private`` holds all that is used of Ray
beyond its public interface. ``deploy/`` holds files for ``ray up``, Slurm and Kubernetes. Used by
``study`` and ``forecast``.
"""
