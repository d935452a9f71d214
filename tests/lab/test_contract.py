"""The contract that the simulator is held to, on the real services: the very same tests, with the lab's cloud."""

from __future__ import annotations

import pytest

from tests.contract import test_compute_api, test_compute_zones, test_identity_api, test_placement_api

pytestmark = pytest.mark.lab

for _module in (test_identity_api, test_placement_api, test_compute_api, test_compute_zones):
    _prefix = _module.__name__.rpartition(".")[2].removesuffix("_api")
    for _name, _value in vars(_module).items():
        if _name.startswith("test_"):
            globals()[f"{_prefix}_{_name.removeprefix('test_')}"] = _value  # names repeat between the modules
        elif type(_value).__name__ == "FixtureFunctionDefinition":
            globals()[_name] = _value
