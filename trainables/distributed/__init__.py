"""One run on several devices: which part of a batch is mine, and sums over all of them.

``shard`` is the part, ``collectives`` the sums. The processes themselves are started in
:mod:`trainables.adapt.replicas`.
"""
