"""What keeps udev, LVM, md and multipathd off the devices below volumes of the kernel engine."""

from pathlib import Path

import pytest

from agents.engines.base import EngineError
from agents.engines.kernel.hands_off import FILES, keep_others_off


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have programs of these names, which note that they were called; the file of notes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    notes = tmp_path / "notes"
    for file in FILES:
        program = folder / file.program
        program.write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >> {notes}\nexit 1\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return notes


def test_each_program_is_kept_off_by_a_file_which_it_is_told_to_read(
    tmp_path: Path, programs: Path
) -> None:
    keep_others_off(tmp_path)

    rules = (tmp_path / "run/udev/rules.d/59-vastsky-kernel.rules").read_text()
    assert 'KERNEL=="md_vas*"' in rules
    assert "blacklist" in (tmp_path / "etc/multipath/conf.d/vastsky.conf").read_text()
    assert programs.read_text() == "udevadm control --reload\nmultipathd reconfigure\n"


def test_a_file_that_somebody_changed_is_mended_and_one_that_is_right_is_left_alone(
    tmp_path: Path, programs: Path
) -> None:
    keep_others_off(tmp_path)
    programs.unlink()
    (tmp_path / FILES[1].path).write_text("# nothing\n")

    keep_others_off(tmp_path)

    assert (tmp_path / FILES[1].path).read_text() == FILES[1].content
    assert programs.read_text() == "multipathd reconfigure\n"


def test_without_such_a_file_the_agent_does_not_start(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "etc").write_text("no folder")

    with pytest.raises(EngineError, match=r"multipathd would use replicas as disks of its own"):
        keep_others_off(tmp_path)


def test_a_program_that_is_not_there_needs_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    keep_others_off(tmp_path)

    assert list(tmp_path.iterdir()) == []
