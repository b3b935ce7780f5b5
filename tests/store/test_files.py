"""The files' folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from chargeplane.kernel.errors import UnavailableError
from chargeplane.store.files import Files, TooLargeError

DATA = os.urandom(700_001)


async def kept(files: Files, data: bytes, limit: int = 1 << 20) -> str:
    async with files.incoming("uploads", limit) as file:
        for start in range(0, len(data), 50_000):
            await file.write(data[start : start + 50_000])
        stored = await file.finish()
    assert (stored.size, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert stored.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
    return stored.path


async def test_file_comes_and_is_read_whole_or_in_part(tmp_path: Path) -> None:
    files = Files(tmp_path, spare_bytes=0)
    path = await kept(files, DATA)
    assert b"".join([piece async for piece in files.read(path)]) == DATA
    assert b"".join([piece async for piece in files.read(path, 300_000, 5)]) == DATA[300_000:300_005]
    assert await files.size(path) == len(DATA)
    await files.remove(path)
    await files.remove(path)
    assert await files.size(path) is None


async def test_what_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path, spare_bytes=0)
    with pytest.raises(TooLargeError):
        await kept(files, DATA, limit=len(DATA) - 1)
    with pytest.raises(RuntimeError):
        async with files.incoming("uploads", 10) as file:
            await file.write(b"half")
            raise RuntimeError
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


async def test_full_disk_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        await kept(Files(tmp_path, spare_bytes=1 << 60), b"x")


async def test_nothing_outside_of_the_folder_is_touched(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    files = Files(tmp_path / "files", spare_bytes=0)
    assert await files.size("../secret") is None
    with pytest.raises(FileNotFoundError):
        await files.remove("../secret")
    with pytest.raises(FileNotFoundError):
        _ = [piece async for piece in files.read("/etc/hostname")]


async def test_leftovers_of_killed_processes_are_swept(tmp_path: Path) -> None:
    files = Files(tmp_path, spare_bytes=0)
    await kept(files, b"x")
    (folder,) = (tmp_path / "uploads").iterdir()
    old, young = folder / ".01-a.part", folder / ".01-b.part"
    for one in (old, young):
        one.write_bytes(b"x")
    os.utime(old, (0, 0))
    await files.sweep()
    assert (old.exists(), young.exists()) == (False, True)


async def test_files_are_named_as_left_only_a_day_after_they_were_complete(tmp_path: Path) -> None:
    files = Files(tmp_path, spare_bytes=0)
    old, new = await kept(files, b"old"), await kept(files, b"new")
    os.utime(tmp_path / old, (1, 1))
    async with files.incoming("firmware", 10) as file:
        await file.write(b"x")
        other = await file.finish()
    os.utime(tmp_path / other.path, (1, 1))
    assert [some async for some in files.left("uploads")] == [[old]]
    assert await files.size(new) == 3
