"""The installation key: where it is kept, how it is rotated, what it protects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.kernel.errors import RuleError
from chargeplane.store.secrets import (
    InstallationKeys,
    UnknownKeyError,
    api_key_prefix,
    hash_api_key,
    make_api_key,
    make_station_password,
)

OLD, NEW = "o" * 32, "n" * 32


def _accepts(keys: InstallationKeys, password: str, presented: bytes) -> bool:
    made = keys.hash_password(password)
    return keys.verify_password(presented, made.salt, made.hash, made.key_id)


def test_key_file_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    keys = InstallationKeys.load(tmp_path)
    assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600
    assert InstallationKeys.load(tmp_path).current_id == keys.current_id


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(lambda _: InstallationKeys.load(tmp_path).current_id, range(64)))
    assert len(ids) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"]


def test_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    InstallationKeys.load(tmp_path)
    (tmp_path / "secret-key").chmod(0o644)
    with pytest.raises(RuleError, match="chmod 600"):
        InstallationKeys.load(tmp_path)


def test_configured_key_goes_before_the_file(tmp_path: Path) -> None:
    keys = InstallationKeys.load(tmp_path, NEW)
    assert keys.current_id == InstallationKeys(NEW).current_id
    assert not (tmp_path / "secret-key").exists()


def test_short_key_is_refused() -> None:
    with pytest.raises(RuleError, match="at least 32 characters"):
        InstallationKeys("short")


def test_rotation_keeps_what_older_keys_made(tmp_path: Path) -> None:
    before = InstallationKeys.load(tmp_path)
    made, secret = before.hash_password("a password of 20 ch."), before.encrypt(b"token", "webhook 1")
    after = InstallationKeys.rotate(tmp_path)
    assert after.current_id != before.current_id
    assert after.ids == {after.current_id, before.current_id}
    assert after.verify_password(b"a password of 20 ch.", made.salt, made.hash, made.key_id)
    assert after.decrypt(secret, "webhook 1") == b"token"
    assert not after.is_current(secret)
    assert after.is_current(after.encrypt(b"token", "webhook 1"))
    assert InstallationKeys.load(tmp_path).ids == after.ids
    assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600


def test_variable_may_hold_older_keys_behind_a_comma(tmp_path: Path) -> None:
    made = InstallationKeys(OLD).hash_password("x" * 20)
    keys = InstallationKeys.load(tmp_path, f"{NEW},{OLD}")
    assert keys.current_id == InstallationKeys(NEW).current_id
    assert keys.verify_password(b"x" * 20, made.salt, made.hash, made.key_id)
    assert keys.verify_password(b"x" * 20, made.salt, made.hash)


def test_hash_of_an_absent_key_verifies_nothing() -> None:
    made = InstallationKeys(OLD).hash_password("x" * 20)
    assert not InstallationKeys(NEW).verify_password(b"x" * 20, made.salt, made.hash, made.key_id)
    assert not InstallationKeys(NEW).verify_password(b"x" * 20, made.salt, made.hash)


def test_text_is_accepted_as_configured() -> None:
    assert _accepts(InstallationKeys(NEW), "gX4s Wö-7kLmPq92zz", "gX4s Wö-7kLmPq92zz".encode())


def test_hex_authorization_key_is_accepted_as_text_in_any_case_and_as_bytes() -> None:
    keys = InstallationKeys(NEW)
    configured = "30F11a2B3c4D5e6f708192A3b4C5d6E7f8091A2b"
    assert _accepts(keys, configured, configured.encode())
    assert _accepts(keys, configured, configured.lower().encode())
    assert _accepts(keys, configured, configured.upper().encode())
    assert _accepts(keys, configured, bytes.fromhex(configured))


def test_hex_of_a_configured_text_is_accepted() -> None:
    keys = InstallationKeys(NEW)
    assert _accepts(keys, "not hex but 20 chars", b"not hex but 20 chars".hex().encode())


def test_digits_that_could_be_hex_are_accepted_in_every_form() -> None:
    keys = InstallationKeys(NEW)
    digits = "12345678901234567890"
    for presented in (digits.encode(), digits.encode().hex().encode(), bytes.fromhex(digits)):
        assert _accepts(keys, digits, presented)


def test_hex_bytes_that_are_hex_text_themselves_are_accepted() -> None:
    keys = InstallationKeys(NEW)
    inner = "0123456789abcdef0123"
    assert _accepts(keys, inner.encode().hex(), inner.encode())


@given(st.text(min_size=16, max_size=40), st.binary(max_size=40))
def test_other_bytes_are_refused(password: str, presented: bytes) -> None:
    forms = {password.encode(), password.encode().hex().encode()}
    try:
        forms |= {bytes.fromhex(password)}
    except ValueError:
        pass
    if presented not in forms and presented.lower() != password.lower().encode():
        assert not _accepts(InstallationKeys(NEW), password, presented)


def test_same_password_has_another_hash_at_each_station() -> None:
    keys = InstallationKeys(NEW)
    assert keys.hash_password("x" * 20).hash != keys.hash_password("x" * 20).hash


def test_ciphertext_serves_its_own_purpose_only() -> None:
    keys = InstallationKeys(NEW)
    stored = keys.encrypt(b"token", "webhook 1")
    assert b"token" not in stored
    with pytest.raises(RuleError, match="belongs to something else"):
        keys.decrypt(stored, "webhook 2")
    with pytest.raises(RuleError, match="changed"):
        keys.decrypt(stored[:-1] + bytes([stored[-1] ^ 1]), "webhook 1")
    with pytest.raises(RuleError, match="not one of ours"):
        keys.decrypt(b"\x09garbage", "webhook 1")


def test_ciphertext_of_an_absent_key_names_the_key() -> None:
    old = InstallationKeys(OLD)
    with pytest.raises(UnknownKeyError, match=old.current_id):
        InstallationKeys(NEW).decrypt(old.encrypt(b"token", "webhook 1"), "webhook 1")


def test_made_secrets_are_long_and_never_the_same() -> None:
    passwords = {make_station_password() for _ in range(100)}
    assert len(passwords) == 100
    assert {len(password) for password in passwords} == {20}
    key = make_api_key()
    assert key != make_api_key()
    assert len(hash_api_key(key)) == 32
    assert key.startswith(api_key_prefix(key))
    assert len(api_key_prefix(key)) == 8
