"""A manager as in production: over TLS, with a certificate and a token for each node."""

import os
import secrets
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from agents.identity import trusting
from deploy.local import broker, observe
from deploy.local.place import ROOT, Place
from vastsky_site.access import certificates

MAKE_TOKENS = """
from vastsky_site.access import tokens
for name in {names}:
    print(tokens.create_token(name=name, role="agent")[1])
"""

Launch = Callable[[str, Sequence[str]], object]
"""Starts a part of the manager by its name and command line, where it belongs."""


class SecureManager:
    """Web, worker, beat and broker, and the folder from which nodes get what makes them nodes."""

    def __init__(self, place: Place, addresses: Sequence[str], policy: Mapping[str, str]) -> None:
        self.place = place
        self.tls = place.home / "tls"
        self._addresses = list(addresses)
        self._token = ""
        self.environment = {
            **{name: value for name, value in os.environ.items() if "VASTSKY" not in name},
            **policy,
            "VASTSKY_HOME": str(place.home),
            "VASTSKY_PRODUCTION": "1",
            "VASTSKY_SECRET_KEY": secrets.token_urlsafe(50),
            "VASTSKY_ALLOWED_HOSTS": ",".join(addresses),
            "VASTSKY_TLS_CERTIFICATE": str(self.tls / "manager.pem"),
            "VASTSKY_TLS_KEY": str(self.tls / "manager.key"),
            "VASTSKY_TLS_AUTHORITY": str(self.tls / "authority.pem"),
            "DATABASE_URL": "",
            "REDIS_URL": place.broker_url,
        }

    @property
    def url(self) -> str:
        return f"https://{self._addresses[0]}:{self.place.port}/RPC2"

    @property
    def private_url(self) -> str:
        """Tell where the API is, with a token that may do everything."""
        return self.url.replace("://", f"://tester:{self._token}@")

    def prepare(self, nodes: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Make database, certificates and tokens; the token of each node, named with addresses."""
        self.manage("certificate", "manager", *self._addresses, "--manager")
        self.manage("migrate", "--verbosity", "0")
        self._token = self.manage("token", "create", "tester", "--role", "admin").strip()
        for name, addresses in nodes.items():
            # As `manage.py certificate` does it, without two seconds of starting for each.
            certificates.issue(self.tls, name, addresses)
        made = self.manage("shell", "-v", "0", "-c", MAKE_TOKENS.format(names=list(nodes)))
        return dict(zip(nodes, made.split(), strict=True))

    def manage(self, *words: str) -> str:
        """Run `manage.py`; what it says."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, launch: Launch) -> None:
        """Start the four processes."""
        python = [sys.executable, "-m"]
        web = ["--host", "0.0.0.0", "--port", str(self.place.port)]  # noqa: S104
        web += ["--certificate", self.environment["VASTSKY_TLS_CERTIFICATE"]]
        web += ["--key", self.environment["VASTSKY_TLS_KEY"]]
        celery = [*python, "celery", "-A", "vastsky_site"]
        schedule = str(self.place.home / "schedule")
        launch("broker", broker.command(self.place))
        observe.wait(partial(broker.answers, self.place), "the broker answers")
        launch("web", [*python, "vastsky_site.serve", *web])
        launch("worker", [*celery, "worker", "-P", "threads", "-c", "8"])
        launch("beat", [*celery, "beat", "--schedule", schedule, "--pidfile="])

    def call(self, method: str, **members: object) -> Any:
        """Call the API with a token, over TLS; from where its address can be reached."""
        context = trusting(self.tls / "authority.pem")
        with xmlrpc.client.ServerProxy(self.private_url, context=context) as server:
            return getattr(server, method)({"ver": 5, **members})
