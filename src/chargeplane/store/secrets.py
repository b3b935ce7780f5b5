"""The installation key, and what rests on it: station passwords, secrets we must send, API keys.

The key is outside of the database and its dumps: in `CHARGEPLANE_SECRET_KEY`, or in a file in the data folder that is
made at the first start. Whoever has a dump alone can neither try station passwords nor read partners' secrets.

Several keys may be given, the newest first (separated by commas in the variable, one a line in the file): the first
one makes new hashes and ciphertexts, the others still verify and decrypt what they made. A key's id is a digest of it,
so the same key has the same id wherever it stands.

Station passwords are machine-made (20 random characters), so one HMAC is enough: a slow hash would turn a reconnect
storm of 100,000 stations into an hour of computing.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import string
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from chargeplane.kernel.errors import RuleError

KEY_FILE: Final = "secret-key"
"""Name of the installation key's file in the data folder."""

MIN_KEY_LENGTH: Final = 32
"""Characters a given installation key has at least."""

_PASSWORD_ALPHABET: Final = string.ascii_letters + string.digits
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_FORMAT: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_HEX_DIGITS: Final = frozenset(b"0123456789abcdefABCDEF")


class PasswordHash(Struct, frozen=True, kw_only=True):
    """What is stored of a station's password.

    Args:
        salt: 16 random bytes of this station.
        hash: HMAC-SHA-256.
        key_id: of the installation key that made it.
    """

    salt: bytes
    hash: bytes
    key_id: str


class UnknownKeyError(RuleError):
    """Something was made with an installation key that is not here."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"This was made with the installation key {key_id}, which is not among the keys of this installation: add "
            f"it to CHARGEPLANE_SECRET_KEY or to the file {KEY_FILE} in the data folder."
        )
        self.key_id = key_id


class _Key:
    """One installation key, with a key of its own for each purpose."""

    def __init__(self, text: str) -> None:
        master = hashlib.sha256(text.encode()).digest()
        self.id = hmac.digest(master, b"chargeplane key id", "sha256")[:_KEY_ID_BYTES].hex()
        self.password = hmac.digest(master, b"chargeplane station password", "sha256")
        self.digest = hmac.digest(master, b"chargeplane digest", "sha256")
        self.cipher = AESGCM(hmac.digest(master, b"chargeplane secret", "sha256"))


class InstallationKeys:
    """The keys of this installation, the newest first.

    Args:
        texts: one or more keys of at least 32 characters.
    Raises:
        RuleError: there is none, or one is too short.
    """

    def __init__(self, *texts: str) -> None:
        if not texts:
            raise RuleError("There is no installation key.")
        if any(len(text) < MIN_KEY_LENGTH for text in texts):
            raise RuleError(
                f"An installation key (CHARGEPLANE_SECRET_KEY) has at least {MIN_KEY_LENGTH} characters; "
                f'make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        keys = [_Key(text) for text in texts]
        self._current = keys[0]
        self._keys = {key.id: key for key in reversed(keys)}

    @classmethod
    def load(cls, data_dir: Path, configured: str | None = None) -> InstallationKeys:
        """The configured keys, else those of the file in the data folder, which is made where absent.

        Args:
            data_dir: Chargeplane's data folder.
            configured: value of CHARGEPLANE_SECRET_KEY.
        Raises:
            RuleError: a key is too short, or the file is open to others or cannot be read.
        """
        if configured:
            return cls(*_split(configured.replace(",", "\n")))
        path = data_dir / KEY_FILE
        with contextlib.suppress(FileExistsError):
            _write_new(path, secrets.token_urlsafe(32))
        return cls(*_read(path))

    @classmethod
    def rotate(cls, data_dir: Path) -> InstallationKeys:
        """Puts a fresh key before the others in the data folder's file (made where absent) and returns all."""
        path = data_dir / KEY_FILE
        texts = [secrets.token_urlsafe(32), *(_read(path) if path.exists() else [])]
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        _write_new(fresh, "\n".join(texts))
        fresh.replace(path)
        return cls(*texts)

    @property
    def current_id(self) -> str:
        """Id of the key that makes new hashes and ciphertexts."""
        return self._current.id

    @property
    def ids(self) -> frozenset[str]:
        """Ids of all keys."""
        return frozenset(self._keys)

    # Station passwords

    def hash_password(self, password: str) -> PasswordHash:
        """What to store of a station's password."""
        salt = secrets.token_bytes(_SALT_BYTES)
        digest = hmac.digest(self._current.password, salt + _canonical(password.encode()), "sha256")
        return PasswordHash(salt=salt, hash=digest, key_id=self._current.id)

    def verify_password(self, presented: bytes, salt: bytes, stored: bytes, key_id: str | None = None) -> bool:
        """Whether a station presented its password, in any form the field knows.

        Accepted are the text as configured; where that is hex text (an OCPP 1.6 AuthorizationKey) the bytes it stands
        for, or the same in other case; and the hex text of the configured text's bytes.

        Args:
            presented: the password of the Basic header.
            salt, stored: see PasswordHash.
            key_id: of the key that made the hash; None tries all keys.
        Source: OCPP 1.6 Security Whitepaper, AuthorizationKey; requirements of stations seen in the field.
        """
        keys = self._keys.values() if key_id is None else filter(None, (self._keys.get(key_id),))
        once = _canonical(presented)
        forms = (presented, once, _canonical(once))
        right = False
        for key in keys:
            for form in forms:
                right |= hmac.compare_digest(hmac.digest(key.password, salt + form, "sha256"), stored)
        return right

    def digest(self, purpose: str, value: bytes) -> bytes:
        """A keyed digest, by which a value that few have is found again without being stored: HMAC-SHA-256 with the newest key."""
        return hmac.digest(self._current.digest, purpose.encode() + b"\x00" + value, "sha256")

    # Secrets we must send

    def encrypt(self, secret: bytes, purpose: str) -> bytes:
        """The secret as stored: AES-256-GCM, with the key's id in front.

        Args:
            secret: e.g. a partner's token.
            purpose: what it is and whose, e.g. `webhook 7`; decrypting with another one fails, so that ciphertexts
                cannot be swapped in the database.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        head = _FORMAT + bytes.fromhex(self._current.id)
        return head + nonce + self._current.cipher.encrypt(nonce, secret, head + purpose.encode())

    def decrypt(self, stored: bytes, purpose: str) -> bytes:
        """The secret again.

        Raises:
            UnknownKeyError: the key that made it is not here.
            RuleError: it was changed, or made for another purpose.
        """
        head, rest = stored[: 1 + _KEY_ID_BYTES], stored[1 + _KEY_ID_BYTES :]
        if head[:1] != _FORMAT or len(rest) < _NONCE_BYTES:
            raise RuleError(f"The stored secret of {purpose} is not one of ours.")
        key = self._keys.get(head[1:].hex())
        if key is None:
            raise UnknownKeyError(head[1:].hex())
        try:
            return key.cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head + purpose.encode())
        except InvalidTag:
            raise RuleError(f"The stored secret of {purpose} was changed or belongs to something else.") from None

    def is_current(self, stored: bytes) -> bool:
        """Whether a ciphertext was made with the newest key; others are worth encrypting again."""
        return stored[1 : 1 + _KEY_ID_BYTES].hex() == self._current.id


def make_station_password() -> str:
    """A station's password: 20 random letters and digits (119 bits).

    20 is what OCPP 1.6 stations take (AuthorizationKey, 16 to 20 bytes) and 2.x ones must take (16 to 40).
    """
    return "".join(secrets.choice(_PASSWORD_ALPHABET) for _ in range(20))


def make_api_key() -> str:
    """An API key: `cp_` and 32 random bytes in URL-safe text."""
    return f"cp_{secrets.token_urlsafe(32)}"


def hash_api_key(key: str) -> bytes:
    """What is stored of an API key: SHA-256. The key is random, so nothing slower is needed."""
    return hashlib.sha256(key.encode()).digest()


def api_key_prefix(key: str) -> str:
    """First characters of an API key, for people to recognise it by; too few to guess the rest."""
    return key[: min(8, len(key) // 2)]


def _canonical(password: bytes) -> bytes:
    """The bytes a hex text stands for; anything else as it is."""
    if password and not len(password) % 2 and _HEX_DIGITS.issuperset(password):
        return bytes.fromhex(password.decode("ascii"))
    return password


def _split(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _read(path: Path) -> list[str]:
    try:
        if path.stat().st_mode & 0o077:
            raise RuleError(f"The installation key {path} is open to others: chmod 600 {path}")
        return _split(path.read_text())
    except OSError as error:
        raise RuleError(f"The installation key {path} cannot be read: {error.strerror}.") from error


def _write_new(path: Path, text: str) -> None:
    """Makes a file that is complete from the moment it is there: another process may be about to read it.

    Raises:
        FileExistsError: there is one.
    """
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(fd)
    try:
        os.link(fresh, path)
    finally:
        fresh.unlink()
