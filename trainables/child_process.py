"""Helper processes that must not outlive the process that started them."""

import multiprocessing
import os
import threading
from collections.abc import Callable


def end_with_parent(last: Callable[[], object] = lambda: None) -> None:
    """End this process as soon as its parent ends, even if that is killed.

    Args:
        last: Called before the end.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        last()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
