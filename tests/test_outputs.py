"""Files that take another's place only when they are whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from realtime.errors import BadFile, NotWritten
from realtime.outputs import Draft, replacing, write_whole

pytestmark = pytest.mark.hostile


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_replaced_in_one_step_and_keeps_its_rights(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")
    target.chmod(0o640)
    with replacing(target) as at:
        at.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert names(tmp_path) == {"a.json"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_or_a_stop_leaves_the_earlier_file_and_nothing_else(tmp_path: Path, error) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")

    def write() -> None:
        with replacing(target) as at:
            at.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert names(tmp_path) == {"a.json"}


def test_a_full_disk_is_a_failure_while_running_and_a_missing_folder_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(BadFile) as wrong:
        write_whole(tmp_path / "none" / "a.json", "x")
    assert wrong.value.exit_code == 2
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(NotWritten, match="No space left") as full:
        write_whole("/dev/full", "x")
    assert full.value.exit_code == 1


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real.json").write_text("old")
    link = tmp_path / "a.json"
    link.symlink_to(tmp_path / "there" / "real.json")
    write_whole(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "there" / "real.json").read_text() == "new"


def test_what_is_no_plain_file_is_written_itself() -> None:
    write_whole(os.devnull, "x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_partial_files_never_take_each_others_place(tmp_path: Path) -> None:
    """The second could be reading the first."""
    drafts = [Draft(tmp_path / "out.mp4", kept=True) for _ in range(3)]
    assert [d.at.name for d in drafts] == ["out.partial.mp4", "out.partial-2.mp4", "out.partial-3.mp4"]
    drafts[1].finish()
    drafts[2].drop()
    assert names(tmp_path) == {"out.mp4", "out.partial.mp4"}
