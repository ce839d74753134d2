"""The search space: what each parameter can be, and how a trial's configuration is drawn.

Read ``parameters`` (what the YAML says of one parameter), ``domains``, ``number_domains`` and
``distributions`` (what Optuna is asked for), ``conditions`` (``when:``), then ``space``, which
puts them together. ``fields`` knows the fields of a trial's config; ``suggester`` is where values
come from: an Optuna trial, a random generator or a record. No import of Optuna. Used by ``spec``
and everything above it.
"""
