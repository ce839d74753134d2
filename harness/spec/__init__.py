"""A study: what one YAML file says, checked before anything starts.

Read ``study_spec`` (the model, which imports the plugins that a file names), ``sections``,
``early_terminate`` and ``database`` (its parts), then ``load``, which makes a checked model of a
file: ``canonical`` rewrites the other spellings that a file may use, ``checks`` refuses sections
that do not go together, ``notices`` collects what the user should know. ``named_files`` lists the
weights that trials read, ``metric_names`` the metrics that a study may name; ``json_schema`` is
for editors. The model knows none of the modules after it. Imports nothing slow: a wrong file is
refused within a second. Used by everything above it as ``from harness.spec import ...``.
"""

from harness.spec.load import checked_study, load_spec
from harness.spec.study_spec import StudySpec
from harness.yaml.source import SpecError

__all__ = ["SpecError", "StudySpec", "checked_study", "load_spec"]
