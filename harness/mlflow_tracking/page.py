"""The address of the page on which MLflow compares the runs of a study."""

from harness.record.masking import MASK, masked

HOST, DEFAULT_PORT = "127.0.0.1", 5000
"""Where ``harness.ui`` serves MLflow's pages."""


def study_page(server: str, experiment_id: str, study_id: str) -> str:
    """Address of the page with all runs of a study and their charts.

    Args:
        server: Address of an MLflow server, such as ``http://127.0.0.1:5000``.
        experiment_id: MLflow's experiment.
        study_id: The ledger's id of the study.
    """
    return (
        f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
        f"&compareRunsMode=CHART&viewStateShareKey={view_key(study_id)}"
    )


def view_key(study_id: str) -> str:
    """Name under which the experiment holds what the page shows of a study."""
    return study_id[:8]


def local_server(port: int = DEFAULT_PORT) -> str:
    """Address of MLflow's pages on this machine."""
    return f"http://{HOST}:{port}"


def server_of(tracking_uri: str) -> str:
    """Address of a server as a browser opens it: without credentials."""
    return masked(tracking_uri).replace(f"{MASK}@", "")


def is_server(tracking_uri: str) -> bool:
    """Whether a tracking URI is the address of a server and not of a database."""
    return tracking_uri.lower().startswith(("http://", "https://"))
