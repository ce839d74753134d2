"""What a study runs on did not start, or went away: one sentence, with what to do."""


class OutageError(Exception):
    """Ray, the database or the machine is not there; nothing is wrong with the study.

    The text is a sentence for a person, with the remedy.
    """
