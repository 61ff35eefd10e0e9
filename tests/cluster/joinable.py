"""What joins and what it joins: a manager over TLS, a machine, and who relays."""

import itertools
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

from agents.join_string import JoinString, new_secret
from agents.membership.manager_door import fingerprint
from agents.ondisk import GB
from vastsky_site.access import certificates

ADDRESS = "127.0.0.1"
PORTS = {"head": 9882, "storage": 9883}
"""Where this manager calls agents, which is not where others do."""
numbers = itertools.count(1)


class Manager:
    """A manager's web process over TLS, with a database of its own."""

    def __init__(self, home: Path) -> None:
        self.home, tls = home, home / "tls"
        certificates.issue(tls, "manager", [ADDRESS], may_call=True)
        with socket.create_server((ADDRESS, 0)) as probe:
            self.url = f"https://{ADDRESS}:{probe.getsockname()[1]}"
        kept = {name: value for name, value in os.environ.items() if "VASTSKY" not in name}
        self.env = kept | {
            "VASTSKY_HOME": str(home),
            "DATABASE_URL": "",
            "VASTSKY_TLS_CERTIFICATE": str(tls / "manager.pem"),
            "VASTSKY_TLS_KEY": str(tls / "manager.key"),
            "VASTSKY_TLS_AUTHORITY": str(tls / "authority.pem"),
            "VASTSKY_MANAGER_URLS": self.url,
            **{f"VASTSKY_{role.upper()}_AGENT_PORT": str(port) for role, port in PORTS.items()},
            "VASTSKY_RPC_TRUSTED_NETWORKS": "10.255.255.255/32",
        }
        self.manage("migrate", "--verbosity=0")
        files = ["--certificate", str(tls / "manager.pem"), "--key", str(tls / "manager.key")]
        port = self.url.rpartition(":")[2]
        self.web = subprocess.Popen(
            [sys.executable, "-m", "vastsky_site.serve", "--port", port, *files], env=self.env
        )
        self._wait(int(port))

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((ADDRESS, port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("the manager does not listen")

    def manage(self, *words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(command, env=self.env, check=True, capture_output=True, timeout=120)
        return done.stdout.decode()

    def invite(self, name: str, *words: str, what: str = "add") -> str:
        (line,) = [
            line
            for line in self.manage("node", what, name, *words).splitlines()
            if line.startswith("vastsky-node join")
        ]
        return line.split()[2]

    def string_of_nobody(self, url: str = "") -> str:
        """Make a string of this manager's that lets nobody in: it is looked at, and refused."""
        authority = (self.home / "tls" / "authority.pem").read_text()
        string = JoinString((url or self.url,), fingerprint(authority), new_secret())
        return str(string)


class Machine:
    """A machine that is to be a node: its folders, a disk, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.disk = folder, folder / "disk.img"
        folder.mkdir(exist_ok=True)
        number = next(numbers)
        self.addresses = [f"127.30.{number}.1", f"127.31.{number}.1"]
        with self.disk.open("wb") as disk:
            disk.truncate(4 * GB)

    def node(self, *words: str) -> subprocess.CompletedProcess[str]:
        places = [f"--{one}-dir={self.folder / one}" for one in ("config", "state", "run")]
        command = [sys.executable, "-m", "agents.vastsky_node", *places, *words]
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            command,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def install(self, program: str, text: str) -> None:
        """Put a program before those of the system."""
        path = self.folder / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def say(self, role: str, line: str) -> None:
        """Say something in an agent's settings, in place of what was said of it."""
        path = self.folder / "config" / f"{role}.toml"
        key = line.partition(" ")[0]
        kept = [one for one in path.read_text().splitlines() if not one.startswith(f"{key} ")]
        path.write_text("\n".join([line, *kept]))

    def join(self, string: str, *words: str) -> subprocess.CompletedProcess[str]:
        wanted = words or ("--storage", "--disk", str(self.disk))
        return self.node("join", string, *(f"--address={one}" for one in self.addresses), *wanted)

    def written(self) -> set[str]:
        config = self.folder / "config"
        return {path.name for path in config.iterdir()} if config.exists() else set()


class Relay:
    """Answers each connection with the same text, and remembers what it was told."""

    def __init__(
        self,
        folder: Path,
        authority: str,
        name: str = "thief",
        place: tuple[str, int] = (ADDRESS, 0),
    ) -> None:
        self.heard = ""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        body = json.dumps({"authority": authority, "cluster": "c", "time": time.time()})
        self._answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        self._listener = socket.create_server(place)
        self.url = f"https://{ADDRESS}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(raw, server_side=True) as sock:
                    sock.settimeout(1)
                    request = sock.recv(65536)
                    if request.startswith(b"POST"):
                        request += sock.recv(65536)  # the body comes apart from the headers
                    self.heard += request.decode()
                    sock.sendall(self._answer)
            except OSError:
                continue
