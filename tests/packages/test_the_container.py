"""The container runs what the package's units run, with settings that there are."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from inventory.command_line import COMMAND
from vastsky_site import health
from vastsky_site.settings_table import BY_NAME

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "deploy/container"
SETTING = re.compile(r"\b(?:VASTSKY_\w+|DATABASE_URL|REDIS_URL)\b")
PYTHON = "/usr/lib/vastsky/manager/venv/bin/python"


@pytest.fixture
def services() -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
    return told["services"]  # type: ignore[no-any-return]  # as the file has it


@pytest.mark.parametrize("name", ["Containerfile", "compose.yaml"])
def test_every_setting_of_the_container_is_one(name: str) -> None:
    assert set(SETTING.findall((CONTAINER / name).read_text())) <= {*BY_NAME, COMMAND}


@pytest.mark.parametrize("part", ["web", "worker", "beat"])
def test_a_service_runs_what_the_unit_runs(services: dict[str, Any], part: str) -> None:
    unit = (ROOT / f"deploy/packages/manager/vastsky-{part}.service").read_text()
    started = re.search(rf"^ExecStart={PYTHON} (.*)$", unit, re.MULTILINE)
    assert started
    image = (CONTAINER / "Containerfile").read_text()
    assert f'ENTRYPOINT ["{PYTHON}"]' in image

    command = services[part].get("command") or ["-m", "vastsky_site.serve"]

    wanted = started[1].replace("/var/lib/vastsky/manager/beat-schedule", "/tmp/beat-schedule")  # noqa: S108
    assert " ".join(command) == wanted
    ends = re.search(r"^TimeoutStopSec=(.*)$", unit, re.MULTILINE)
    assert ends
    assert services[part].get("stop_grace_period", "10s") == f"{ends[1]}s"


def test_the_web_server_is_asked_whether_it_is_ready(services: dict[str, Any]) -> None:
    shown = {one.partition(":")[2] for one in services["web"]["ports"]}

    how, program, *words = services["web"]["healthcheck"]["test"]

    assert (how, program) == ("CMD", PYTHON)
    assert shown == {BY_NAME["VASTSKY_WEB_PORT"].default}
    assert f"https://127.0.0.1:{shown.pop()}{health.PATH}" in words[-1]
    compile(words[-1], "healthcheck", "exec")


def test_no_key_is_in_the_image_and_what_is_secret_has_to_be_given(
    services: dict[str, Any],
) -> None:
    assert "/etc/vastsky/manager.env" in (CONTAINER / "Containerfile").read_text()
    settings = services["web"]["environment"]
    assert settings["VASTSKY_SECRET_KEY"] == "${VASTSKY_SECRET_KEY:?}"
    assert "${POSTGRES_PASSWORD:?}" in settings["DATABASE_URL"]


def test_nothing_starts_before_the_database_is_of_the_images_release(
    services: dict[str, Any],
) -> None:
    for part in ("web", "worker", "beat"):
        waits = services[part]["depends_on"]
        assert waits == {"migrate": {"condition": "service_completed_successfully"}}
