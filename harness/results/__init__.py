"""A study's results as data frames, read from its ledger: what analyses and notebooks use.

Read ``frames`` (every metric key is explained there), which ``reading`` fills from the ledger,
``validators`` (what label-free validators are worth), ``ranking`` (trials in order, for
summaries), ``trial_label`` (what they are called), ``effects`` (what each range of difficulty does
to the objective), ``result_table`` (both as lines of text), ``importance`` (of the searched
parameters), ``verdict`` (what a confirmation shows). Works while MLflow is away.
"""

from harness.results.frames import Study
from harness.results.reading import load_study

__all__ = ["Study", "load_study"]
