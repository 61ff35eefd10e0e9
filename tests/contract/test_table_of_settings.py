"""The table of settings is what is read, and what the page of settings tells."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from agents.node.config import DiskConfig, NodeConfig
from vastsky_site import environment, node_settings, settings_reference
from vastsky_site.settings_table import BY_NAME, SETTINGS, Setting, SettingKind

ROOT = Path(__file__).parents[2]
READ = re.compile(r"environment\.(?:text|flag|whole|words|networks|file|choice)\(\"(\w+)\"")
TLS = {f"VASTSKY_TLS_{what}" for what in ("CERTIFICATE", "KEY", "AUTHORITY")}


def test_every_setting_of_the_table_is_read_and_no_other() -> None:
    read = set(READ.findall((ROOT / "vastsky_site/settings.py").read_text()))

    assert read | TLS == set(BY_NAME)


def test_the_page_is_what_the_table_says() -> None:
    page = (ROOT / "docs/settings.md").read_text()

    assert page == settings_reference.page(), "run settings_reference (CONTRIBUTING.md, A setting)"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_default_can_be_used(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (setting.name, setting.former):
        monkeypatch.delenv(name, raising=False)
    readers = {
        SettingKind.FLAG: environment.flag,
        SettingKind.WHOLE: environment.whole,
        SettingKind.WORDS: environment.words,
        SettingKind.NETWORKS: environment.networks,
        SettingKind.FILE: environment.file,
    }

    readers.get(setting.kind, environment.text)(setting.name)

    assert setting.meaning.endswith(".")
    assert (
        bool(setting.unit)
        or setting.kind is not SettingKind.WHOLE
        or setting.name.endswith("_PORT")
    )


def test_a_former_name_is_read_where_the_name_itself_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VASTSKY_RECONCILE_SECONDS", raising=False)
    monkeypatch.setenv("VASTSKY_SWEEP_SECONDS", "7")
    assert environment.whole("VASTSKY_RECONCILE_SECONDS") == 7

    monkeypatch.setenv("VASTSKY_RECONCILE_SECONDS", "9")
    assert environment.whole("VASTSKY_RECONCILE_SECONDS") == 9


def test_a_bad_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://somebody:hunter2@host/name")

    with pytest.raises(SystemExit) as ended:
        environment.refuse("DATABASE_URL", "another one")

    assert str(ended.value) == "vastsky: DATABASE_URL must be another one"


def test_every_key_of_nodes_is_explained_once() -> None:
    common = {field.name for field in fields(NodeConfig)}
    for kind, config in node_settings.KINDS.items():
        named = {field.name for field in fields(config)}
        own = named if config in (NodeConfig, DiskConfig) else named - common
        assert set(node_settings.MEANINGS[kind]) == own
        assert all(node_settings.kind_of(kind, name) for name in own)
