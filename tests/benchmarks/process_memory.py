"""Memory of a process with all that it has started."""

import psutil


def tree_pss(pid):
    """Proportional set size of a process and its descendants in bytes: shared pages once."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total
