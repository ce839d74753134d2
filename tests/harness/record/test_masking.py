"""Passwords do not get into what is shown or stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record.masking import masked, masked_text, secrets_of

# Letters that nothing else in the test's addresses and messages is written with.
PASSWORDS = st.text(st.sampled_from("QXZ01@/:?#&=;% +\\\"'é"), min_size=4, max_size=20).filter(
    lambda text: any(letter in "QXZ" for letter in text)
)
TEMPLATES = (
    "postgresql://user:{}@host/db",
    "postgresql+psycopg2://user:{}@host:5432/db",
    "https://user:{}@host",
    "https://{}@host/path",
    "http://:{}@host",
    "user:{}@host",
)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://user:pw@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("mysql+pymysql://u:p%40w@h:3306/db", "mysql+pymysql://u:***@h:3306/db"),
        ("https://user:pw@host:5000/mlflow", "https://***@host:5000/mlflow"),
        ("https://token@host", "https://***@host"),
        ("http://host:5000", "http://host:5000"),
        ("postgresql://u:a@b/c@host/db", "postgresql://u:***@host/db"),
        ("http://h/p?X-Amz-Signature=abc&timeout=3", "http://h/p?***"),
        ("postgresql:///db?password=abc&sslmode=require", "postgresql:///db?***"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Dx", "mssql+pyodbc:///?***"),
        ("mysql://u:p@h/d?charset=utf8&timeout=3", "mysql://u:***@h/d?charset=utf8&timeout=3"),
        ("mysql://u@h/d?timeout=3;password=x", "mysql://u@h/d?***"),
        ("http://h/p?abcdef#tok", "http://h/p?***#***"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("postgresql://u:a?b@host/db", "postgresql://***"),
        ("http:/user:pw@host", "***@host"),
        ("user://0Q@host", "user://***@host"),
        ("", ""),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_its_credentials(uri, shown):
    assert masked(uri) == shown
    assert masked(shown) == shown


@given(PASSWORDS, st.sampled_from(TEMPLATES))
def test_a_password_is_never_in_a_masked_address(password, template):
    shown = masked(template.format(password))
    assert password not in shown
    assert not set("QXZ") & set(shown), "nor a part of it"


@given(PASSWORDS, st.sampled_from(["password", "token", "AWSAccessKeyId", "sig", "unknown"]))
def test_the_value_of_a_query_is_never_in_a_masked_address(password, key):
    shown = masked(f"http://host/path?{key}={password}&timeout=3")
    assert not set("QXZ") & set(shown)


@given(PASSWORDS, st.sampled_from(TEMPLATES), st.booleans())
def test_a_password_is_never_in_a_masked_message(password, template, is_repeated_raw):
    uri = template.format(password)
    error = ConnectionError(f"cannot reach {uri!r}", password if is_repeated_raw else uri)
    for text in (str(error), repr(error), f"login failed: {password}", f"{uri} is down"):
        assert password not in masked_text(text, secrets_of(uri))


def test_a_decoded_password_is_masked_too():
    secrets = secrets_of("postgresql://user:p%40ss%2Fword@host/db")
    assert masked_text('authentication of "p@ss/word" failed', secrets) == (
        'authentication of "***" failed'
    )


def test_what_mlflow_takes_from_its_variables_is_masked(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    text = masked_text("somebody:s3cret or Bearer t0ken", secrets_of("http://host"))
    assert text == "***:*** or Bearer ***"


def test_a_message_without_secrets_stays_as_it_is():
    text = "HTTPConnectionPool(host='127.0.0.1', port=5000): Max retries exceeded"
    assert masked_text(text, secrets_of("http://127.0.0.1:5000")) == text
