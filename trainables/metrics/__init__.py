"""Numbers for predictions: PCK, EvalPose, label-free validators, intervals over seeds.

Pure functions on tensors and plain lists. Read ``pck``, ``evalpose``, ``controls`` (what a metric
gives to predictions of no network), ``validators`` and ``discrepancies``, ``selection`` (which
checkpoint to keep), ``intervals``. Apart from ``data``, this is all that ``analysis`` may import.
"""
