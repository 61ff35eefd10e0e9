"""What a log line says: as text or JSON, with the request, job and event that it belongs to."""

import io
import json
import logging
import re
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from agents import log_lines
from tests.contract.api import Api
from tests.contract.test_settings import python
from tests.jobs.simulator import free_port


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def written(form: str) -> Iterator[io.StringIO]:
    """All that is logged, in a form."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log_lines.FORMS[form]())
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def test_a_line_tells_what_it_belongs_to(written: io.StringIO, form: str) -> None:
    logger = logging.getLogger("somewhere")
    with log_lines.about(request="r1"), log_lines.about(job=7):
        logger.warning("it %s\nhappened", "ä", extra={"event": 12})
    logger.warning("later")

    lines = written.getvalue()
    if form == "text":
        first, second, third = lines.splitlines()
        assert first.endswith("WARNING somewhere: it ä")
        assert second == "happened [request=r1 job=7 event=12]"
        assert third.endswith("somewhere: later")
        return
    first, second = map(json.loads, lines.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "WARNING", "logger": "somewhere", "message": "it ä\nhappened",
        "request": "r1", "job": 7, "event": 12,
    }  # fmt: skip
    assert not {"request", "job", "event"} & second.keys()


def test_a_traceback_stays_with_its_line(written: io.StringIO, form: str) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("somewhere").exception("it failed")

    lines = written.getvalue().splitlines()
    if form == "json":
        (line,) = lines
        assert json.loads(line)["exception"].endswith("ValueError: no")
    else:
        assert lines[-1] == "ValueError: no"


@pytest.mark.parametrize("form", ["json"], indirect=True)
@pytest.mark.django_db(transaction=True)
def test_a_call_and_what_comes_of_it_are_found_by_ids(written: io.StringIO, call: Api) -> None:
    logging.getLogger().setLevel(logging.INFO)
    struct = {"ver": 5, "ip_data": ["10.0.0.1"]}
    answer = call.post(xmlrpc.client.dumps((struct,), "registerHeadServer"))

    (line,) = map(json.loads, written.getvalue().splitlines())
    assert line["request"] == answer["X-Request-ID"]
    assert line["event"] == int(call("vastsky.listEvents")["events"][0]["id"])
    assert line["message"] == "head hsvr-00000001: in service: new, at 10.0.0.1"


def test_a_caller_may_choose_the_id(client: Client) -> None:
    assert client.get("/nowhere", headers={"X-Request-ID": "mine-1"})["X-Request-ID"] == "mine-1"


@pytest.mark.django_db
@pytest.mark.parametrize("told", ["", "two words", "x" * 65, "a\nb", "<b>"])
def test_what_is_no_id_is_replaced(client: Client, told: str) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": told})

    assert re.fullmatch("[0-9a-f]{12}", answer["X-Request-ID"])


def test_the_manager_writes_as_it_is_told_to(tmp_path: Path) -> None:
    say = ("-c", "import django, logging; django.setup(); logging.getLogger('x').warning('y')")
    env = {"DJANGO_SETTINGS_MODULE": "vastsky_site.settings"}

    told = python(tmp_path, *say, **env, VASTSKY_LOG_FORMAT="json").stderr
    assert json.loads(told)["message"] == "y"
    assert python(tmp_path, *say, **env).stderr.endswith("WARNING x: y\n")


def test_worker_and_beat_write_what_the_web_writes_and_celery_only_what_is_wrong(
    tmp_path: Path,
) -> None:
    say = """
import logging
from vastsky_site.celery import app
app.log.setup(loglevel="WARNING")
logging.getLogger("inventory.events").info("an event")
logging.getLogger("celery.beat").info("a tick")
logging.getLogger("celery.worker").warning("no broker")
"""
    told = python(tmp_path, "-c", say, VASTSKY_LOG_FORMAT="json").stderr

    assert [json.loads(line)["message"] for line in told.splitlines()] == ["an event", "no broker"]


def test_an_agent_writes_as_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "head.toml"
    path.write_text("nonsense = 1\n")
    words = ("-m", "agents", "head", "--config", str(path), "--log-format", "xml")
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, timeout=30
    )

    assert "invalid choice: 'xml'" in done.stderr


@pytest.mark.parametrize(("words", "is_json"), [((), True), (("--log-format", "text"), False)])
def test_an_agent_writes_as_its_configuration_says_unless_it_is_told_otherwise(
    tmp_path: Path, words: tuple[str, ...], *, is_json: bool
) -> None:
    path = tmp_path / "head.toml"
    path.write_text(f"""
manager = "http://127.0.0.1:1/RPC2"
addresses = ["127.0.0.1"]
port = {free_port()}
state_dir = "{tmp_path}/state"
links_dir = "{tmp_path}/links"
log_format = "json"
""")
    agent = subprocess.Popen(
        [sys.executable, "-m", "agents", "head", "--config", str(path), *words],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert agent.stderr is not None
        line = agent.stderr.readline()
    finally:
        agent.kill()
        agent.communicate()

    assert line.strip()
    assert line.startswith("{") == is_json
