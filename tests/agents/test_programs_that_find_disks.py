"""What keeps udev, LVM, md and multipathd off the devices below volumes of the kernel engine."""

from pathlib import Path

import pytest

from agents.engines.base import EngineError
from agents.engines.kernel.hands_off import FILES, keep_others_off

OWN = "# what a person put there\n"


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
    lvm = folder / "lvm"
    lvm.write_text(f"#!/bin/sh\ncat {tmp_path}/etc/lvm/*.conf | grep -o 'global_filter.*'\n")
    lvm.chmod(0o755)
    (tmp_path / "etc/lvm").mkdir(parents=True)
    (tmp_path / "etc/lvm/lvmlocal.conf").write_text(OWN)
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
    (tmp_path / "etc/multipath").write_text("no folder")

    with pytest.raises(EngineError, match=r"multipathd would use replicas as disks of its own"):
        keep_others_off(tmp_path)


def test_lvm_leaves_out_what_is_below_volumes_and_is_told_once(
    tmp_path: Path, programs: Path
) -> None:
    keep_others_off(tmp_path)
    keep_others_off(tmp_path)

    told = (tmp_path / "etc/lvm/lvmlocal.conf").read_text()
    assert told.startswith(OWN)
    assert told.count('global_filter = [ "r|^/dev/vastsky/below/|" ]') == 1
    rules = (tmp_path / "run/udev/rules.d/59-vastsky-kernel.rules").read_text()
    assert 'SYMLINK+="vastsky/below/%k"' in rules, "that is what makes these names"


@pytest.mark.parametrize(
    ("filters", "refused"), [('"a|^/dev/sda$|", "r|.*|"', False), ('"r|^/dev/sdz$|"', True)]
)
def test_a_filter_of_lvm_that_a_person_made_is_not_changed(
    tmp_path: Path, programs: Path, filters: str, *, refused: bool
) -> None:
    path = tmp_path / "etc/lvm/lvm.conf"
    path.write_text(f"global_filter = [ {filters} ]\n")

    if refused:
        with pytest.raises(EngineError, match=r'add "r\|\^/dev/vastsky/below/\|" to its'):
            keep_others_off(tmp_path)
    else:
        keep_others_off(tmp_path)

    assert path.read_text() == f"global_filter = [ {filters} ]\n"
    assert (tmp_path / "etc/lvm/lvmlocal.conf").read_text() == OWN


def test_a_program_that_is_not_there_needs_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    keep_others_off(tmp_path)

    assert list(tmp_path.iterdir()) == []
