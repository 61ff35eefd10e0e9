"""What smartctl says of disks becomes figures; what it does not say is unknown."""

import json
from typing import Any

import pytest

from agents.node.storage.smart import read_figures
from agents.protocol import DiskState, SmartFigures
from agents.struct_codec import from_struct, to_struct

ATA = {
    "smart_status": {"passed": True},
    "temperature": {"current": 34},
    "ata_smart_attributes": {
        "table": [
            {"id": 5, "name": "Reallocated_Sector_Ct", "raw": {"value": 12, "string": "12"}},
            {"id": 197, "name": "Current_Pending_Sector", "raw": {"value": 3, "string": "3"}},
            {"id": 1, "name": "Raw_Read_Error_Rate", "raw": {"value": 1 << 44}},
        ]
    },
}
NVME = {
    "smart_status": {"passed": False, "nvme": {"value": 4}},
    "temperature": {"current": 51},
    "nvme_smart_health_information_log": {"critical_warning": 4, "percentage_used": 97},
}
SCSI = {"smart_status": {"passed": True}, "scsi_grown_defect_list": 8}


@pytest.mark.parametrize(
    ("told", "figures"),
    [
        (ATA, SmartFigures(1, 34, 12, 3)),
        (NVME, SmartFigures(0, 51, wear=97)),
        (NVME | {"smart_status": {"passed": False, "nvme": {"value": 2}}},
         SmartFigures(1, 51, wear=97)),
        (NVME | {"smart_status": {"passed": False, "nvme": {"value": 6}}},
         SmartFigures(0, 51, wear=97)),
        (SCSI, SmartFigures(1, reallocated=8)),
        ({"endurance_used": {"current_percent": 2}}, SmartFigures(wear=2)),
        ({"temperature": {"current": -5}}, SmartFigures(temperature=0)),
        ({"ata_smart_attributes": {"table": [{"id": 5, "raw": {"value": 1 << 40}}]}},
         SmartFigures(reallocated=(1 << 31) - 1)),
        ({"smartctl": {"exit_status": 2}}, SmartFigures()),
        ({"temperature": [], "ata_smart_attributes": {"table": [None]}}, SmartFigures()),
        ([1], SmartFigures()),
    ],
)  # fmt: skip
def test_figures_are_read_as_smartctl_writes_them(told: Any, figures: SmartFigures) -> None:
    assert read_figures(json.dumps(told)) == figures


def test_what_is_no_json_says_nothing() -> None:
    assert read_figures("smartctl: command not found") == SmartFigures()


def test_a_state_of_an_older_agent_has_none_and_an_older_manager_reads_a_new_one() -> None:
    new = to_struct(DiskState("u", "/dev/x", 1, 9, smart=SmartFigures(1, 30)))
    assert from_struct(DiskState, new).smart == SmartFigures(1, 30)

    del new["smart"]
    assert from_struct(DiskState, new).smart == SmartFigures()
