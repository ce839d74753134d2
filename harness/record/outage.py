"""The error for Ray, a database or a machine that fails."""


class OutageError(Exception):
    """Ray, the database or the machine failed; nothing is wrong with the study.

    The text is one sentence that tells the user what to do.
    """
