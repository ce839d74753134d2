"""One run on several devices: the shard of each process, and sums over all processes.

Read ``shard`` (a process's part of a batch), ``collectives`` (sums and means).
:mod:`trainables.adapt.replicas` starts the processes.
"""
