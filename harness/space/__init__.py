"""The search space: what each parameter can be, and how a trial's configuration is drawn.

Read ``parameters`` (one parameter as the YAML writes it), ``domains``, ``number_domains`` and
``distributions`` (what Optuna is asked for), ``conditions`` (``when:``), then ``space``, which
puts them together. ``fields`` knows the fields of a trial's config; values come from a
``suggester``: an Optuna trial, a random generator or a record. Does not import Optuna. Used by
``spec`` and everything above it.
"""
