"""What a person sees: progress while a study runs, the summary at its end, exit codes.

Read ``progress``, then ``summary`` (also ``--json``), then ``command`` (what all commands share).
Used by ``study`` and by the commands.
"""
