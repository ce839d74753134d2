"""Numbers for predictions: PCK, EvalPose, label-free validators, intervals over seeds.

Pure functions on tensors and plain lists. Read ``pck``, ``evalpose``, ``controls`` (predictions
made without a network), ``validators`` and ``discrepancies``, ``selection`` (which checkpoint to
keep), ``intervals``, ``metric_keys`` (names of metrics), ``reported`` (what each trainable
reports). Of the trainables, ``analysis`` imports only this package and ``data.skeleton``.
"""
