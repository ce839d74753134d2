"""The contract with the private parts of Ray: a version that moves one of them is named here."""

import inspect
from types import SimpleNamespace

import pytest

from harness.nodes.ray_private import (
    PRIVATE_NAMES,
    error_text,
    private,
    running_actor,
    will_retry,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, while it is imported


@pytest.mark.parametrize(("module", "name"), PRIVATE_NAMES)
def test_this_ray_has_every_private_name(module, name):
    private(module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [("ray._private.gone", "x"), ("ray._private.worker", "global_worker.gone")],
)
def test_a_name_that_ray_has_moved_is_one_clear_sentence(module, name):
    with pytest.raises(AttributeError) as caught:
        private(module, name)
    for word in ("Ray 2.", f"{module}.{name}", "harness/nodes/ray_private.py"):
        assert word in str(caught.value)


def test_ray_still_takes_its_private_arguments():
    import ray

    source = inspect.getsource(ray.init)
    for name in ("_node_ip_address", "_temp_dir", "_system_config"):
        assert f'"{name}"' in source, f"ray.init takes no {name}: adapt ray_private.start_local"


def test_a_trial_of_tune_that_has_not_started_has_no_actor():
    from ray.tune.experiment import Trial

    trial = Trial("untrained", stub=True)
    assert running_actor(trial) is None
    assert will_retry(trial)  # it has not failed yet


def test_the_error_of_a_trial_is_read_once_its_file_is_there(tmp_path):
    path = tmp_path / "error.txt"
    assert error_text(SimpleNamespace(error_file=None)) == ""
    assert error_text(SimpleNamespace(error_file=str(path))) == ""
    path.write_text("ValueError: no")
    assert error_text(SimpleNamespace(error_file=str(path))) == "ValueError: no"


def test_the_actor_of_a_running_trial_is_found():
    from ray.tune.experiment import Trial

    trial = Trial("untrained", stub=True)
    trial.set_status(Trial.RUNNING)
    trial.temporary_state.ray_actor = "actor"
    assert running_actor(trial) == "actor"
