"""The operator in whose name businesses ask for money: the password, the certificate, the lock.

A business proves it by a SecurityCredential: the password, encrypted with PKCS#1 v1.5 padding for
the key of M-Pesa's certificate, in base64. Source: daraja.md, section 11.
"""

import base64
import hmac
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from threading import Lock

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from simulator.journal import Journal, Record
from simulator.rulebook import Rulebook

KEY_BITS = 2048
UNKNOWN, LOCKED = "20", "8006"
# Whatever day it is in a virtual world, the certificate is valid.
VALID = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class Initiator:
    """One operator for all shortcodes. Verbs lock the world themselves."""

    def __init__(
        self,
        name: str,
        password: str,
        journal: Journal,
        rulebook: Rulebook,
        home: Path | None,
    ) -> None:
        """home: the folder that keeps the key, so that a restart needs no new credential; None:
        one key for the life of the process."""
        self.name = name
        self._password = password
        self._journal = journal
        self._rulebook = rulebook
        self._home = home
        # A credential found right, and for which password: to decrypt takes 2 ms.
        self._right: tuple[str, str] | None = None
        self._wrong = 0  # credentials in a row
        self._is_locked = False

    @property
    def is_locked(self) -> bool:
        return self._is_locked

    def certificate(self) -> str:
        """M-Pesa's X.509 certificate in PEM, for the credentials of this world."""
        return _certificate(self._key())

    def refusal(self, name: str, credential: str) -> str | None:
        """The result code of whatever is asked under this name; None: it is the operator.

        Wrong credentials in a row lock the operator, and then the right one is refused too.
        """
        is_right = self._is_right(credential)  # takes its time: the world need not wait for it
        with self._journal.change():
            if name != self.name:
                return UNKNOWN
            if self._is_locked:
                return LOCKED
            rules = self._rulebook.rules
            if is_right:
                self._set(0, is_locked=False)
                return None
            wrong = self._wrong + 1
            self._set(wrong, is_locked=0 < rules.initiator_tries <= wrong)
            return rules.initiator_code

    def change(self, *, password: str | None = None, is_locked: bool | None = None) -> None:
        """What a business's administrator does in the portal: a new password, or unlocking.

        A new password unlocks too. It lasts until the world stops.
        """
        with self._journal.change():
            if password is not None:
                self._password = password
                is_locked = bool(is_locked)
            if is_locked is not None:
                self._set(0, is_locked=is_locked)

    def replay(self, record: Record) -> None:
        """Take up the lock of an earlier run."""
        self._wrong, self._is_locked = record["wrong"], record["locked"]

    def _key(self) -> rsa.RSAPrivateKey:
        """Made when it is first needed: it takes a tenth of a second, and few need it."""
        with _ONE_KEY:
            return _process_key() if self._home is None else _kept_key(self._home / "key.pem")

    def _is_right(self, credential: str) -> bool:
        expected = self._password
        if (credential, expected) == self._right:
            return True
        try:
            cipher = base64.b64decode(credential, validate=True)
            password = self._key().decrypt(cipher, padding.PKCS1v15())
        except ValueError:
            return False
        if not hmac.compare_digest(password, expected.encode()):
            return False
        self._right = credential, expected
        return True

    def _set(self, wrong: int, *, is_locked: bool) -> None:
        if (wrong, is_locked) != (self._wrong, self._is_locked):
            self._wrong, self._is_locked = wrong, is_locked
            self._journal.note({"is": "initiator", "wrong": wrong, "locked": is_locked})


_ONE_KEY = Lock()


@cache
def _process_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


@cache
def _kept_key(path: Path) -> rsa.RSAPrivateKey:
    """The key in that file, made where there is none. It opens nothing but this world."""
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey), "the world's key is of another kind"
        return key
    made = _process_key()
    path.touch(mode=0o600)
    path.write_bytes(
        made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


def _certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The pretend M-Pesa")])
    begins, ends = VALID
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
