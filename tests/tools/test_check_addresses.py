"""No lock holds an address, no file names a package index."""

from __future__ import annotations

import pytest

from tools.check_addresses import complaints

LOCK = "msgspec==0.22.0 \\\n    --hash=sha256:0123\n"


def test_a_lock_of_names_versions_and_digests_is_fine() -> None:
    assert complaints("requirements/runtime.txt", LOCK) == []


@pytest.mark.parametrize(
    "line", ["-i somewhere", "--index" + "-url somewhere", "-f wheels/", "pkg @ https://example.org/pkg.whl", "-e ."]
)
def test_an_address_in_a_lock_is_refused(line: str) -> None:
    (complaint,) = complaints("requirements/dev.txt", f"{LOCK}{line}\n")
    assert complaint.startswith("requirements/dev.txt:3 ")


def test_a_lock_without_digests_is_refused() -> None:
    assert complaints("requirements/dev.txt", "msgspec==0.22.0\n") == ["requirements/dev.txt pins nothing by digest"]


def test_a_package_index_is_named_nowhere() -> None:
    (complaint,) = complaints("README.md", "Get it from py" + "pi.org.\n")
    assert complaint.startswith("README.md:1 ")
    assert complaints("README.md", "Get it from a package index; see https://example.org.\n") == []
