"""Which errors mean that a disk, or a user's share of it, is full."""

import errno

FULL_BYTES = 1 << 20
"""A disk with less free space than this counts as full."""


def is_no_space(error: BaseException) -> bool:
    """Whether an error says that there is no space, on the disk or in the user's quota."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
