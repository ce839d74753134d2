import pytest

from harness.spec.database import DATABASE_VARIABLE, database_url


@pytest.mark.parametrize(
    ("in_environment", "in_file", "used"),
    [
        ("postgresql://env/x", "postgresql://file/x", "postgresql://env/x"),
        ("", "postgresql://file/x", "postgresql://file/x"),
        (None, "postgresql://file/x", "postgresql://file/x"),
        ("postgresql://env/x", None, "postgresql://env/x"),
        (None, None, "sqlite:////runs/optuna.db"),
    ],
)
def test_the_environment_comes_before_the_file_and_the_default_last(
    monkeypatch, in_environment, in_file, used
):
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    if in_environment is not None:
        monkeypatch.setenv(DATABASE_VARIABLE, in_environment)
    assert database_url(in_file, "sqlite:////runs/optuna.db") == used
