"""`vastsky` and a manager that is served as in production: over TLS, with a token in a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.client.conftest import Done, run_vastsky
from tests.client.own_manager import OwnManager
from vastsky_client.command.statuses import Status


@dataclass
class Served:
    """Where a manager is, and what lets a client in."""

    url: str
    authority: Path
    token: Path

    def run(self, *words: str, **more: str) -> Done:
        about = {
            "VASTSKY_AUTHORITY_FILE": str(self.authority),
            "VASTSKY_TOKEN_NAME": "watch",
            "VASTSKY_TOKEN_FILE": str(self.token),
        }
        return run_vastsky(*words, **{"managers": self.url, **about, **more})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A manager of its own, with a new database, an authority and a certificate."""
    home = tmp_path_factory.mktemp("served")
    manager = OwnManager(home, f"sqlite:///{home}/vastsky.sqlite3")
    manager.manage("migrate", "--verbosity=0")
    manager.manage("certificate", "manager", "127.0.0.1", "--manager")
    token = home / "token"
    token.write_text(manager.manage("token", "create", "watch", "--role", "reader"))
    token.chmod(0o600)
    files = ["--certificate", str(home / "tls/manager.pem"), "--key", str(home / "tls/manager.key")]
    with manager.serving(*files, VASTSKY_RPC_TRUSTED_NETWORKS="192.0.2.0/24"):
        yield Served(f"https://127.0.0.1:{manager.port}", home / "tls/authority.pem", token)


def test_the_authority_and_the_token_let_in(served: Served) -> None:
    done = served.run("server", "list")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("NAME")


def test_the_role_of_the_token_is_what_it_may_do(served: Served) -> None:
    assert served.run("volume", "create", "db", "1").returncode == Status.NOT_ALLOWED


def test_without_a_token_nobody_is_let_in(served: Served) -> None:
    done = served.run("volume", "list", VASTSKY_TOKEN_FILE="")

    assert done.returncode == Status.NOT_ALLOWED


def test_a_manager_that_the_authority_does_not_know_is_not_trusted(served: Served) -> None:
    done = served.run("volume", "list", VASTSKY_AUTHORITY_FILE="")

    assert done.returncode == Status.NO_MANAGER
    assert done.stderr.startswith(f"vastsky: no trust in the manager at {served.url}/RPC2: ")
    assert done.stderr.count("\n") == 1


def test_an_authority_that_is_none_is_wrong_usage(served: Served) -> None:
    for file in ("/nonexistent", str(served.token)):
        done = served.run("volume", "list", VASTSKY_AUTHORITY_FILE=file)
        assert done.returncode == Status.USAGE
        assert done.stderr.startswith(f"vastsky: authority_file {file} cannot be used: ")


def test_a_token_that_was_replaced_is_read_anew(served: Served, tmp_path: Path) -> None:
    later = tmp_path / "token"
    later.write_text("vastsky_wrong")
    later.chmod(0o600)
    file = {"VASTSKY_TOKEN_FILE": str(later)}
    assert served.run("volume", "list", **file).returncode == Status.NOT_ALLOWED

    later.write_text(served.token.read_text())

    assert served.run("volume", "list", **file).returncode == 0
