"""The note in a locked file that says which process holds the lock."""

import json
import os
import socket
import time


def lock_note() -> bytes:
    """What this process writes into a file that it has locked."""
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
    return json.dumps(holder).encode()


def lock_holder(note: bytes) -> str:
    """The process that wrote a note, in words: its id, host and when it began."""
    try:
        holder = json.loads(note)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
        return f"process {holder['pid']} on {holder['host']}, since {since}"
    except (ValueError, KeyError, TypeError):  # the holder is just about to write it
        return "another process"
