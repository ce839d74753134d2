"""A study's results as data frames, read from its ledger: what analyses and notebooks use.

Read ``frames`` (every metric key is explained there), ``validators`` (what label-free validators
are worth), ``ranking`` (trials in order, for summaries), ``effects`` (what each range of
difficulty does to the objective), ``result_table`` (both as lines of text), ``importance`` (of the
searched parameters). Works while MLflow is away.
"""

from harness.results.frames import Study, load_study

__all__ = ["Study", "load_study"]
