"""Learning rates of the recipes, by hand, and what their optimisers do with them."""

import pytest
import torch

from trainables.adapt.optimisers import (
    adam_recipe,
    default_recipe,
    regda_adaptation_recipe,
    regda_pretraining_recipe,
    two_drops,
)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1 / 30),  # warm-up 1/30, cosine 1
        (20, 0.525),  # 21/30 * (1 + cos(pi/3)) / 2 = 0.7 * 0.75
        (30, 0.5),  # warm-up over, (1 + cos(pi/2)) / 2
        (40, 0.25),
        (45, 0.1464466),  # (1 + cos(3 pi/4)) / 2
        (60, 0.0),
        (90, 0.0),  # beyond the end it stays at zero
    ],
)
def test_the_default_rate_warms_up_and_follows_half_a_cosine(step, expected):
    recipe = default_recipe(0.02, 60)
    assert recipe.factor(step) == pytest.approx(expected, abs=1e-7)
    assert set(recipe.rates.values()) == {0.02}


def test_the_default_recipe_can_train_its_backbone_slower():
    recipe = default_recipe(0.02, 60, backbone_factor=0.25)
    assert recipe.rates == {
        "backbone": 0.005, "upsampling": 0.02, "head": 0.02, "adversarial_head": 0.02
    }  # fmt: skip


def test_the_last_warm_up_step_has_the_full_rate_of_the_cosine():
    factor = default_recipe(1.0, 3000).factor
    assert factor(29) == pytest.approx(0.99976945, abs=1e-7)  # (1 + cos(29 pi/3000)) / 2
    assert factor(28) == pytest.approx(29 / 30, abs=1e-3)


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 1.0), (43, 1.0), (44, 0.1), (58, 0.1), (59, 0.01), (69, 0.01)]
)
def test_the_references_drop_one_epoch_before_their_milestones(epoch, expected):
    factor = two_drops(steps_per_epoch=500, epochs=70)
    assert factor(500 * epoch) == factor(500 * epoch + 499) == pytest.approx(expected)


def test_the_drops_scale_with_the_training():
    factor = two_drops(steps_per_epoch=10, epochs=7)  # 44 / 70 * 7 = 4.4, 59 / 70 * 7 = 5.9
    assert [factor(10 * epoch) for epoch in range(7)] == pytest.approx(
        [1] * 4 + [0.1] * 2 + [0.01]
    )


def test_regda_trains_its_backbone_ten_times_slower():
    pretraining, adaptation = regda_pretraining_recipe(500, 70), regda_adaptation_recipe()
    assert pretraining.rates == {"backbone": 0.01, "upsampling": 0.1, "head": 0.1}
    # Base 0.1 and 1, times 0.1 (1 + 1e-4 i)^-0.75: 0.01 and 0.1 at the start ...
    rates = {part: rate * adaptation.factor(0) for part, rate in adaptation.rates.items()}
    assert rates == pytest.approx(
        {"backbone": 0.01, "upsampling": 0.01, "head": 0.1, "adversarial_head": 0.1}
    )
    # ... 2.5^-0.75 = 0.503 of that after 15,000 steps.
    assert adaptation.factor(15_000) == pytest.approx(0.0503, abs=1e-4)


@pytest.mark.parametrize(
    ("recipe", "kind", "decay"),
    [
        (default_recipe(1e-3, 10), torch.optim.AdamW, 1e-2),
        (adam_recipe(1e-4, 500, 70), torch.optim.Adam, 0),
        (regda_adaptation_recipe(), torch.optim.SGD, 1e-4),
    ],
)
def test_an_optimiser_has_a_group_for_each_part_with_its_rate(recipe, kind, decay):
    parts = {"backbone": [torch.nn.Parameter(torch.zeros(2))], "head": []}
    parts["head"] = [torch.nn.Parameter(torch.zeros(3))]
    optimizer = recipe.optimizer(parts)
    assert isinstance(optimizer, kind)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {decay}
    recipe.set_rates(7, optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [
        recipe.rates[part] * recipe.factor(7) for part in parts
    ]


def test_sgd_steps_as_nesterov_momentum_says():
    weight = torch.nn.Parameter(torch.tensor([0.0], dtype=torch.float64))
    recipe = regda_adaptation_recipe()
    optimizer = recipe.optimizer({"head": [weight]})
    recipe.set_rates(0, optimizer)  # lr 0.1
    for _ in range(2):
        optimizer.zero_grad()
        weight.sum().backward()  # gradient 1
        optimizer.step()
    # First step: buffer 1, moved 0.1 (1 + 0.9) = 0.19. Second: gradient 1 - 1e-4 * 0.19, buffer
    # 0.9 + 0.999981, moved 0.1 (0.999981 + 0.9 * 1.899981).
    assert weight.item() == pytest.approx(-0.19 - 0.1 * (0.999981 + 0.9 * 1.899981), abs=1e-9)
