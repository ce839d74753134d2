"""Training: source-only, oracle, RegDA and UDAPE behind one interface.

Read ``adapter`` (the interface and its batches), ``source_only`` and ``regda`` (the shortest
methods), ``udape`` with ``teacher``, ``pseudo_labels``, ``occlusion`` and ``restyle``, then
``methods`` (built by name) and ``adaptation_run`` (the loop over epochs). ``batches`` feeds it,
``losses`` and ``optimisers`` serve all methods, ``replicas`` trains one run on several devices.
"""
