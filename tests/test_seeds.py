"""One seed: a stream for every purpose, every global generator from it, and stages by rank."""

from __future__ import annotations

import random

import numpy as np
import pytest

from harness import load

seeds = load("randomness.seeds")
run_object = load("training.run_object")


def test_a_stream_depends_on_seed_and_name_alone() -> None:
    assert seeds.stream(1, "split").integers(2**32, size=3).tolist() == [2871389460, 1854336597, 2524548784]
    first = run_object.Run(1)
    first.rng("another").random(1000)
    assert first.rng("split").random() == run_object.Run(1).rng("split").random()
    assert len({seeds.stream(seed, name).random() for seed in (0, 1) for name in ("a", "b")}) == 4


@pytest.mark.parametrize("left", ["random", "numpy.random"])
def test_each_generator_is_seeded_or_alone_left_out(left: str) -> None:
    def drawn() -> dict[str, float]:
        return {"random": random.random(), "numpy.random": np.random.random()}

    assert seeds.set_all(7) == {"random": 7, "numpy.random": 7}
    first = drawn()
    seeds.set_all(7)
    assert drawn() == first
    seeds.unset(left, 7)
    assert [name for name, number in drawn().items() if number != first[name]] == [left]


def test_a_run_seeds_anew_for_each_name_and_notes_stages_on_the_first_rank_only() -> None:
    run, other = run_object.Run(3), run_object.Run(3, rank=1, processes=2)
    numbers = []
    for name in ("epoch 1", "epoch 2", "epoch 1"):
        run.reseed(name)
        numbers.append(np.random.random())
    assert numbers[0] == numbers[2] != numbers[1]
    for one in (run, other):
        one.stage("split", [1, 2])
    assert [*run.stages] == ["split"] and not other.stages
