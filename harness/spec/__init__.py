"""A study: what one YAML file says, checked before anything starts.

Read ``study_spec`` (the model), ``sections`` (its parts), ``load`` (from the file to a checked
model). ``canonical`` rewrites the other spellings that a file may use; ``checks`` says which words
go together; ``named_files`` are the files it reads; ``notices`` is what the user should know;
``metric_names`` lists what may be optimised; ``json_schema`` is for editors. Imports nothing slow:
a file is refused within a second. Used by everything above it as ``from harness.spec import ...``.
"""

from harness.spec.load import checked_study, load_study
from harness.spec.study_spec import StudySpec
from harness.yaml.source import SpecError

__all__ = ["SpecError", "StudySpec", "checked_study", "load_study"]
