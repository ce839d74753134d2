"""Training: source-only, oracle, RegDA and UDAPE behind one interface.

Read ``adapter`` (the interface and its batches), ``source_only`` and ``regda`` (the shortest
methods), ``udape`` with ``teacher``, ``pseudo_labels``, ``occlusion`` and ``restyle``, then
``methods`` (builds them from a config) and ``adaptation_run`` (the loop over epochs). ``batches``
makes the batches and ``feed`` reads them ahead of the step, all methods use ``losses`` and
``optimisers``, ``replicas`` trains one run on several devices.
"""
