"""Alert rules, the board and the page about them name what is really told, and all of it."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.exposition import MetricFamily, MetricKind, families_of
from agents.node import node_metrics
from agents.node.head import head_metrics
from agents.node.storage import storage_metrics
from benchmarks.seed import fill
from tests.contract.api import Api
from tests.metrics.conftest import Read
from tests.metrics.test_metrics_of_the_manager import SMALL
from vastsky_site import metrics

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
PAGE = (ROOT / "docs" / "metrics.md").read_text()
METRIC = re.compile(r"\b(?:vastsky|process)_[a-z0-9_]+\b")
SELECTOR = re.compile(r"\b((?:vastsky|process)_[a-z0-9_]+)\{([^}]*)\}")
LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"")
GROUPED = re.compile(r"\bby \(([^)]*)\)")
TEMPLATE = re.compile(r"\{\{(.*?)\}\}")
ROW = re.compile(
    r"^\| `((?:vastsky|process)_\w+)` \| (\w+) \| (\S+) \| (.*?) \| (.+) \|$", re.MULTILINE
)
PARTS = ("_bucket", "_sum", "_count")
OF_THE_SCRAPE = {"instance", "job", "le"}
UNITS = {"bytes_per_second": "bytes/s", "bytes": "bytes", "seconds": "seconds"}
ON_THE_DAY = {
    "vastsky_certificate_end_timestamp_seconds",
    "vastsky_sweep_age_seconds",
    "vastsky_jobs_ended_last_hour",
    "vastsky_rpc_denied_total",
    "vastsky_disk_failing",
    "vastsky_disk_temperature_celsius",
    "vastsky_disk_reallocated_sectors",
    "vastsky_disk_pending_sectors",
    "vastsky_disk_wear_ratio",
    "vastsky_worker_releases",
    "vastsky_webhook_failing_seconds",
}
"""What a seeded database has no sample of; their own tests do."""

AGENTS = [
    *families_of(node_metrics, head_metrics, storage_metrics),
    *head_metrics.REQUESTS.all,
    *storage_metrics.REQUESTS.all,
]
FAMILIES = {family.name: family for family in [*metrics.families(), *AGENTS]}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "vastsky.rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def board() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FOLDER / "grafana-board.json").read_text())
    return read


def board_queries() -> Iterator[str]:
    for panel in board()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in board()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"]


def family_of(name: str) -> MetricFamily:
    """Find the metric of a name in a query; KeyError if there is none."""
    for part in PARTS:
        family = FAMILIES.get(name.removesuffix(part)) if name.endswith(part) else None
        if family is not None and family.kind is MetricKind.HISTOGRAM:
            return family
    return FAMILIES[name]


ASKED = [*(rule["expr"] for rule in rules()), *board_queries()]


@pytest.mark.parametrize("query", ASKED)
def test_a_query_asks_for_what_is_told_by_labels_that_it_has(query: str) -> None:
    labels = set(OF_THE_SCRAPE)
    for name in METRIC.findall(re.sub(r'"[^"]*"', '""', query)):
        labels |= set(family_of(name).labels)
    for name, selected in SELECTOR.findall(query):
        assert set(LABEL.findall(selected)) <= {*family_of(name).labels, *OF_THE_SCRAPE}, name
    grouped = {label.strip() for found in GROUPED.findall(query) for label in found.split(",")}
    assert grouped <= labels


@pytest.mark.parametrize("query", ASKED)
def test_a_query_has_pairs_of_brackets(query: str) -> None:
    open_ones: list[str] = []
    for mark in re.sub(r'"[^"]*"', "", query):
        if mark in "([{":
            open_ones.append(")]}"["([{".index(mark)])
        elif mark in ")]}":
            assert open_ones.pop() == mark
    assert not open_ones


def test_a_real_scrape_has_what_rules_and_board_ask_the_manager_for(
    scrape: Read, call: Api
) -> None:
    fill(SMALL, trouble=True)
    call("listEvents")
    of_agents = {family.name for family in AGENTS}
    wanted = {family_of(name).name for query in ASKED for name in METRIC.findall(_bare(query))}

    told = set(scrape().families)

    assert wanted - of_agents - ON_THE_DAY <= told


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_it_is(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("VastSky")
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    known = {f"$labels.{label}" for name in METRIC.findall(_bare(rule["expr"]))
             for label in family_of(name).labels}  # fmt: skip
    known |= {"$value", "$labels.instance"}
    for kind in ("summary", "description"):
        text = rule["annotations"][kind]
        assert text.endswith(".")
        for template in TEMPLATE.findall(text):
            assert template.partition("|")[0].strip() in known


def test_alerts_are_on_the_page_with_their_severity() -> None:
    told = dict(re.findall(r"^\| \[`(VastSky\w+)`\]\S+ \| (\w+) \|", PAGE, re.MULTILINE))

    assert told == {rule["alert"]: rule["labels"]["severity"] for rule in rules()}


def test_what_to_do_about_an_alert_is_where_its_annotation_points() -> None:
    text = (ROOT / "docs" / "operate.md").read_text()
    sections = re.findall(r"^### (VastSky\w+)\n\n\*(\w+)\*: [^#]+?\.\n\n[^#\s]", text, re.MULTILINE)

    assert dict(sections) == {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/operate.md#{rule['alert'].lower()}"
        assert f"(operate.md#{rule['alert'].lower()})" in PAGE


def test_each_alert_has_a_unit_test_and_is_quiet_for_a_cluster_that_is_well() -> None:
    quiet, *tests = yaml.safe_load((FOLDER / "vastsky.rules.test.yml").read_text())["tests"]
    names = [rule["alert"] for rule in rules()]

    assert [one["alertname"] for one in quiet["alert_rule_test"]] == names
    assert not any(one["exp_alerts"] for one in quiet["alert_rule_test"])
    fired = [one["alert_rule_test"][0] for one in tests]
    assert [one["alertname"] for one in fired] == names
    assert all(one["exp_alerts"] for one in fired)


def test_promtool_finds_that_alerts_fire_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, which `make test` installs (Debian: prometheus)")
    for command in (("check", "vastsky.rules.yml"), ("test", "vastsky.rules.test.yml")):
        words = [promtool, command[0], "rules", command[1]]
        done = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_every_metric_as_it_is_told() -> None:
    rows = re.findall(
        r"^\| `((?:vastsky|process)_\w+)` \| (\w+) \| (\S+) \| (.*?) \| (.+) \|$",
        PAGE,
        re.MULTILINE,
    )
    told = {name: (kind, unit, labels) for name, kind, unit, labels, _ in rows}

    assert len(told) == len(rows)
    assert told == {
        family.name: (str(family.kind), unit_of(family.name), labels_of(family))
        for family in FAMILIES.values()
    }


def test_the_board_can_be_imported_and_its_panels_do_not_overlap() -> None:
    ids = [panel["id"] for panel in board()["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert {target["datasource"]["uid"] for panel in board()["panels"]
            for target in panel.get("targets", ())} == {"${datasource}"}  # fmt: skip


def _bare(query: str) -> str:
    """Leave out what stands in quotes: a label's value is no metric."""
    return re.sub(r'"[^"]*"', '""', query)


def unit_of(name: str) -> str:
    name = name.removesuffix("_total")
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "count")


def labels_of(family: MetricFamily) -> str:
    return ", ".join(f"`{label}`" for label in family.labels) or "-"
