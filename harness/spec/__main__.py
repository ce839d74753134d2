"""``python -m harness.spec`` prints the JSON Schema of study files for editors."""

from harness.spec.json_schema import main

main()
