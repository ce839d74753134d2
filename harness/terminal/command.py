"""What the commands share: how they speak, and the codes that they end with."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from harness.record.full_disk import StillFullError
from harness.record.ledger import RunRecord
from harness.record.outage import OutageError
from harness.yaml.text import SpecError

DONE, BAD_INPUT, TOO_MANY_FAILED, OUTAGE, INTERRUPTED = 0, 2, 3, 4, 130


def folder_argument(text: str) -> Path:
    """A folder named on the command line, ``~`` replaced; an empty name would be the current one.

    Raises:
        ArgumentTypeError: If it is empty or of an unknown user.
    """
    if not text:
        raise argparse.ArgumentTypeError("must name a folder, got an empty text")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def say(out: TextIO, text: str) -> None:
    """Write a line at once, also into a pipe."""
    print(text, file=out, flush=True)


def say_json(found: Mapping[str, Any]) -> None:
    """Write the result as one JSON object, the only thing on the standard output."""
    say(sys.stdout, json.dumps(found, allow_nan=False))


def ended(command: Callable[[], int]) -> int:
    """Run a command and return its exit code.

    Errors that a user or the machine can cause end in one sentence.

    Args:
        command: Returns its own exit code; raises :class:`SpecError` for bad input,
            :class:`OutageError` or an OSError for what it needs and does not get.
    """
    try:
        return command()
    except SpecError as error:
        say(sys.stderr, f"error: {error}")
        return BAD_INPUT
    except StillFullError as error:  # an interruption ended the wait
        say(sys.stderr, f"{error}: the end is not written; the same command continues")
        return INTERRUPTED
    except KeyboardInterrupt:
        say(sys.stderr, "interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OutageError as error:
        say(sys.stderr, f"error: {error}")
        return OUTAGE
    except OSError as error:  # a disk, a process or a socket that the machine does not give
        where = f"{error.filename}: " if error.filename else ""
        say(sys.stderr, f"error: {where}{error.strerror or error}")
        return OUTAGE


def failure_code(runs: Sequence[RunRecord], max_rate: float) -> int:
    """:data:`TOO_MANY_FAILED`, and a line that says so, or :data:`DONE`.

    Args:
        runs: Of a study; those of a trial that was tried again do not count.
        max_rate: Share of failed runs that is allowed, in [0, 1].
    """
    retried = {record.retry_of for record in runs}
    counted = [record for record in runs if record.trial not in retried]
    failed = sum(record.state == "failed" for record in counted)
    if failed <= max_rate * max(len(counted), 1):
        return DONE
    say(sys.stderr, f"{failed} of {len(counted)} runs failed; --retry-failed tries again")
    return TOO_MANY_FAILED
