"""The report that a study leaves: one HTML page, written by a process of its own.

``harness`` does not import ``analysis``, which needs matplotlib. The driver starts its command
before the study's ``end`` event, as the process that writes to MLflow takes the files of the
summary at that event.
"""

import shlex
import subprocess
import sys
from importlib.util import find_spec

from harness.record.storage import StudyFolder

LIMIT_S = 120
INSTALL = "pip install 'posebins[analysis]'"


def write_report(folder: StudyFolder) -> str | None:
    """Write the report of a study into its ``summary/``.

    Args:
        folder: Folder of the study.

    Returns:
        A sentence if there is no new report; None if there is.

    Raises:
        KeyboardInterrupt: On a second SIGINT; the process has ended even so.
    """
    again = f"python -m analysis.report {shlex.quote(str(folder.path))}"
    if find_spec("matplotlib") is None:
        return f"the study has no report, which needs matplotlib: {INSTALL}, then {again}"
    try:
        # A session of its own: Ctrl-C in the terminal is for the driver, which ends it.
        ended = subprocess.run(
            [sys.executable, "-m", "analysis.report", str(folder.path), "--out", folder.report],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=LIMIT_S, start_new_session=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"the report was not written within {LIMIT_S} s; {again} writes it"
    except OSError as error:
        return f"the report could not be written ({error}); {again} tries again"
    if ended.returncode == 0:
        return None
    why = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
    return f"the report could not be written ({why.removeprefix('error: ')}); {again} tries again"
