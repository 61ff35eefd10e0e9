"""The patches of planted faults are of today's tree: `make planted` can be asked at any time."""

import pytest

from deploy.local.place import ROOT
from tests.planted.checkout import apply
from tests.planted.patches import Planted, load

FAULTS = load([])


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_patch_applies_and_names_tests_that_are_there(fault: Planted) -> None:
    assert apply(ROOT, fault, "--check") == ""
    assert fault.files
    assert [name for name in fault.files if not (ROOT / name).exists()] == []


def test_there_are_enough_of_them() -> None:
    assert len(FAULTS) >= 25
