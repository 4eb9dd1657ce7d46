"""What goroutines share is neither copied nor pickled: a copy would have the same insides."""

import copy
import pickle
from typing import Any

import pytest
from goroutines import Chan, Group, Result, Ticker, Timer
from goroutines.context import background, with_timeout
from goroutines.sync import Cond, Once, Pool, SingleFlight


class Derived(Group):
    def __init__(self) -> None:
        super().__init__()
        self.more = 1


SHARED = {
    "CancelContext": lambda: with_timeout(background(), 600),
    "Cond": Cond,
    "Context": background,
    "Derived": Derived,
    "Group": Group,
    "Once": Once,
    "Pool": lambda: Pool(int),
    "Result": Result,
    "SingleFlight": SingleFlight,
    "Ticker": lambda: Ticker(600),
    "Timer": lambda: Timer(600),
}


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
def test_no_copies(act: Any, name: str):
    with pytest.raises(TypeError, match=f"a {name} cannot be pickled or copied"):
        act(SHARED[name]())


def test_no_copies_on_their_way_through_a_channel():
    with pytest.raises(TypeError, match="cannot send a dict by value: a Pool cannot"):
        Chan(capacity=1, by_value=True).send({"pool": Pool(int)})
