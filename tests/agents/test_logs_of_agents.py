"""An agent tells the ends of its logs, or why it cannot, and none of its secrets."""

import os
from pathlib import Path

import pytest

from agents.node import log_tail
from agents.node.config import HeadConfig
from agents.node.log_tail import LogTail
from agents.protocol import LogQuestion, LogText
from tests.agents.conftest import StorageNode

MOST = 4096


def told(node: StorageNode, most: int = MOST) -> dict[str, LogText]:
    return {one.name: one for one in node.agent.logs(LogQuestion(most)).logs}


def test_an_agent_and_its_data_server_tell_the_ends_of_their_logs(node: StorageNode) -> None:
    token, secret = "vastsky_" + "a1B_" * 12, "0123456789abcdef01234567"
    with node.log.open("a") as log:
        log.write("x" * 80 + "\n" + "an old line\n" * 1000)
        log.write(f"no export 12.3-{secret}; token {token}; bell \a; the last line\n")
    (node.folder / "state" / "data.log").write_text("the disk does not answer\n")

    logs = told(node)

    text = logs["agent.log"].text
    assert text.startswith("an old line\n")
    assert text.endswith("no export 12.3-(secret); token (secret); bell ?; the last line\n")
    assert MOST - 100 < len(text) <= MOST
    assert logs["data.log"].text == "the disk does not answer\n"
    assert logs["kernel.log"].text


def config(folder: Path) -> HeadConfig:
    token = folder / "token"
    token.write_text("a-token-of-another-kind\n")
    token.chmod(0o600)
    return HeadConfig(
        manager="http://127.0.0.1/",
        addresses=(),
        state_dir=folder,
        token_name="n",
        token_file=token,
    )


def test_each_groups_log_is_told_and_what_the_node_knows_as_secret_is_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for group in ("7", "8"):
        (tmp_path / "groups" / group).mkdir(parents=True)
        (tmp_path / "groups" / group / "log").write_text(f"{group}: a-token-of-another-kind\n")
    monkeypatch.setattr(log_tail, "KMSG", tmp_path / "none")

    logs = {one.name: one.text for one in LogTail(config(tmp_path)).tell(LogQuestion(MOST)).logs}

    assert logs["groups.7.log"] == "7: (secret)\n"
    assert logs["groups.8.log"] == "8: (secret)\n"


def test_an_agent_under_systemd_reads_the_journal_of_its_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "journalctl"
    program.write_text('#!/bin/sh\necho "read with $*"\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    reading, writing = os.pipe()
    about = os.fstat(writing)
    try:
        assert "whoever started the agent" in log_tail.own_log(MOST, writing)
        monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")
        cgroup = tmp_path / "cgroup"
        cgroup.write_text("0::/system.slice/vastsky-head.service\n")
        monkeypatch.setattr(log_tail, "CGROUP", cgroup)

        assert "-u vastsky-head.service" in log_tail.own_log(MOST, writing)
        program.write_text('#!/bin/sh\necho "no permission" >&2\n')
        assert "may read. no permission" in log_tail.own_log(MOST, writing)
    finally:
        os.close(reading)
        os.close(writing)


def test_of_the_kernels_log_the_lines_about_errors_are_told(tmp_path: Path) -> None:
    kmsg = tmp_path / "kmsg"
    kmsg.write_text(
        "6,1,1500000,-;sda: sda1\n3,2,2500000,-;I/O error, dev sda, sector 8 op 0x0:(READ)\n"
        " SUBSYSTEM=block\n"
    )

    assert log_tail.kernel_lines(MOST, kmsg) == (
        "[    2.500000] I/O error, dev sda, sector 8 op 0x0:(READ)\n"
    )
