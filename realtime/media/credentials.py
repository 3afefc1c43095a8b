"""C2PA content credentials of a rendered film: a signed statement, in the file, that a program made it.

By c2pa-python (https://c2pa.org), without any network. The key is made for this one file and thrown away: the
statement shows that the file is as it was written, not who wrote it, and viewers call the signer unknown.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from realtime import __version__
from realtime.errors import AvatarError, BadFile, MissingExtra, NotWritten
from realtime.outputs import replacing

SUFFIXES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}
_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}


def check_signing(path: Path) -> None:
    """Raises MissingExtra without c2pa-python, BadFile where this kind of file holds no credentials."""
    _library()
    if path.suffix.lower() not in SUFFIXES:
        raise BadFile(path, f"content credentials need a name that ends in {', '.join(SUFFIXES)}")


def sign(path: Path, trained: bool) -> None:
    """Put content credentials into the finished film at `path`.

    trained: a neural network made the pictures; otherwise a fixed procedure did. Raises AvatarError."""
    c2pa = _library()
    made = {"action": "c2pa.created", "digitalSourceType": _SOURCE + _kind(trained)}
    manifest = {
        "claim_generator_info": [{"name": "realtime-avatar", "version": __version__}],
        "format": SUFFIXES[path.suffix.lower()],
        "title": path.name,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [made]}}],
    }
    try:
        chain, key = _certificate()
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", chain, key, None))
        builder = c2pa.Builder(manifest, c2pa.Context(c2pa.Settings.from_dict(OFFLINE)))
        with replacing(path) as signed:
            signed.unlink()  # the library makes its own
            builder.sign_file(str(path), str(signed), signer)
    except (c2pa.C2paError, NotWritten, BadFile) as error:
        raise AvatarError(f"{path} is written, but content credentials could not be added ({error})") from error


def _kind(trained: bool) -> str:
    return "trainedAlgorithmicMedia" if trained else "algorithmicMedia"


def _certificate() -> tuple[bytes, bytes]:
    """A certificate chain and the key of its first certificate, PEM. C2PA refuses self-signed signers, so a root that
    nobody keeps vouches for it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def certificate(name: str, issuer: str, key: Any, by: Any, root: bool) -> Any:
        def named(text: str) -> x509.Name:
            organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "realtime-avatar on this machine")
            return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, text)])

        start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
        usage = x509.KeyUsage(not root, False, False, False, False, root, root, False, False)
        builder = (
            x509.CertificateBuilder(named(issuer), named(name), key.public_key(), x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=365))
            .add_extension(x509.BasicConstraints(root, None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
        )
        if not root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = certificate("signer", "root", signer, root, False) + certificate("root", "root", root, root, True)
    key = signer.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return chain, key


def _library() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise MissingExtra("--c2pa", "c2pa-python", "c2pa") from error
    return c2pa
