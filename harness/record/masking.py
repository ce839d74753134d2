"""Masks credentials in the addresses of databases and servers before they are shown or stored.

Masking errs on the side of hiding: what might be a password is one. People paste passwords that
hold ``@``, ``/`` or ``#`` unescaped, so everything before the last ``@`` counts as credentials.
"""

import json
import os
import re
from collections.abc import Collection, Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
_VARIABLES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_HARMLESS = frozenset(
    {
        "application_name", "cache", "charset", "connect_timeout", "driver", "mode", "sslmode",
        "timeout", "uri",
    }
)  # fmt: skip
"""Query keys whose values are shown. Any other may be a key, a token or a signature."""
_DATABASES = ("postgres", "mysql", "mariadb", "mssql", "oracle", "sqlite")
"""How the schemes begin whose user names are shown. Any other word before ``://`` may be a user,
and what follows it the beginning of a password."""
_WITH_CREDENTIALS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]*@[^\s'\"]*")


def masked(uri: str) -> str:
    """An address without its credentials.

    Args:
        uri: Address of a database or a server; any other text is treated as one.

    Returns:
        ``postgresql://user:***@host/db``; for a server ``https://***@host``, as its user may be a
        token. A query is masked unless all of its keys are known to be harmless.
    """
    scheme, credentials, rest = _parted(uri)
    if credentials is not None and set("?#") & set(credentials):
        return scheme + MASK  # part of a password, or of a query that holds an @
    place, fragment_mark, _ = rest.partition("#")
    place, query_mark, query = place.partition("?")
    shown = scheme + place + query_mark + _masked_query(query)
    if credentials is not None:
        user, colon, _ = credentials.partition(":")
        is_named = _is_database(scheme)
        hidden = (user + (f":{MASK}" if colon else "")) if is_named else MASK
        shown = f"{scheme}{hidden}@{shown.removeprefix(scheme)}"
    return shown + (f"#{MASK}" if fragment_mark else "")


def secrets_of(uri: str) -> frozenset[str]:
    """What :func:`masked` hides of an address, and MLflow's credentials from the environment.

    Each also in its decoded form, which drivers repeat in their errors.
    """
    scheme, credentials, rest = _parted(uri)
    found = {os.environ.get(name, "") for name in _VARIABLES}
    if credentials is not None:
        user, colon, password = credentials.partition(":")
        found.add(password)
        if not _is_database(scheme):
            found |= {credentials, user}
    for text in (rest, uri):  # an @ may be in the query as well as in a password
        place, _, fragment = text.partition("#")
        found.add(fragment)
        query = place.partition("?")[2]
        if _masked_query(query) == MASK:
            found |= {query, *(value for key, value in _query(query) if key not in _HARMLESS)}
    found |= {decode(secret) for secret in list(found) for decode in (unquote, unquote_plus)}
    return frozenset(found - {""})


def masked_text(text: str, secrets: Collection[str]) -> str:
    """A message without secrets, plain, quoted or escaped, and without credentials in addresses.

    Args:
        text: Message, such as that of an exception.
        secrets: From :func:`secrets_of`.
    """
    forms = {form for secret in secrets for form in _forms(secret)}
    for form in sorted(forms - {""}, key=len, reverse=True):
        text = text.replace(form, MASK)
    return _WITH_CREDENTIALS.sub(lambda found: masked(found.group()), text)


def _parted(uri: str) -> tuple[str, str | None, str]:
    """Scheme with ``://``, credentials or None, and the rest."""
    scheme, mark, rest = uri.partition("://")
    if not mark:
        scheme, rest = "", uri
    is_file = scheme.lower().startswith(("sqlite", "file")) and rest.startswith("/")
    if is_file or (mark and "@" not in rest):  # a file's path may hold an @
        return scheme + mark, None, rest
    credentials, at, place = rest.rpartition("@")
    return scheme + mark, credentials if at else None, place if at else rest


def _is_database(scheme: str) -> bool:
    return scheme.lower().startswith(_DATABASES)


def _query(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&"):
        key, mark, value = part.partition("=")
        yield (key, value) if mark else ("", key)


def _masked_query(query: str) -> str:
    """The query if all of it is harmless, else the mask: a & may be part of a password."""
    is_harmless = all(
        key.lower() in _HARMLESS and re.fullmatch(r"[\w.-]*", value, re.ASCII)
        for key, value in _query(query)
    )
    return query if is_harmless or not query else MASK


def _forms(secret: str) -> Iterator[str]:
    yield from (secret, quote(secret), quote(secret, safe=""), quote_plus(secret))
    yield from (repr(secret)[1:-1], json.dumps(secret)[1:-1])
