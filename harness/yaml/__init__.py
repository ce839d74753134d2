"""A study's YAML as text: values with the line and column where they stand.

Read ``text`` (YAML 1.2 to plain data), then ``source`` (the file, and what ``--set`` changes in
it), then ``validation`` (strict models, and what is wrong with a value in one sentence). Nothing
here knows what a study is. Lowest package of the harness: any other may import it.
"""
