"""From the command line's wishes to a running server: engines, address, token, certificate."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import logging
import math
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from realtime.engines import Engine
from realtime.errors import BadFile, BadValue, DeviceError
from realtime.server.common.limits import Limits
from realtime.server.http.connections import BoundedHttp, Sparing, protocols
from realtime.server.http.handshakes import Threshold
from realtime.server.http.security import Policy, is_loopback

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tls:
    """Certificate and key files (PEM)."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Address:
    """Where to listen. port 0: any free one. wander: take the next free port where this one is taken."""

    host: str = "127.0.0.1"
    port: int = 8000
    wander: bool = False


class Spare:
    """Makes engines, keeping one ahead that is warm: a session opens without waiting for its engine. May be called
    from any thread.

    make: makes an engine. warm: lets it do all once. later: seconds after one was taken until the next is made, so
    that the session which has just begun is not disturbed.
    """

    def __init__(
        self, make: Callable[[], Engine], warm: Callable[[Engine], None] = lambda engine: None, later: float = 3.0
    ) -> None:
        self._make, self._warm, self._later = make, warm, later
        self._lock = threading.Lock()
        self._ready: Engine | None = None
        self._timer: threading.Timer | None = None
        self._closed = False

    def __call__(self) -> Engine:
        """An engine for a new session. Raises what making an engine raises."""
        with self._lock:
            engine, self._ready = self._ready, None
            if not self._closed and (self._timer is None or not self._timer.is_alive()):
                self._timer = threading.Timer(self._later, self._refill)
                self._timer.daemon = True
                self._timer.start()
        return engine if engine is not None else self._make()

    def fill(self) -> None:
        """Make the one ahead, where there is none. Raises what making an engine raises."""
        if self._ready is not None:
            return
        engine = self._make()
        kept = False
        try:
            self._warm(engine)
            with self._lock:
                if self._ready is None and not self._closed:
                    self._ready, kept = engine, True
        finally:
            if not kept:
                engine.close()

    def _refill(self) -> None:
        try:
            self.fill()
        except Exception as error:
            log.info("no engine could be made ahead: %s", error)  # the next session's own attempt says it to the user

    def close(self) -> None:
        """Free the one kept ahead, and make no more. Safe to call twice."""
        with self._lock:
            self._closed = True
            engine, self._ready = self._ready, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join(10.0)  # an engine that is being made is freed there
        if engine is not None:
            engine.close()


def server_config(app: Any, limits: Limits, tls: Tls | None = None, proxies: Sequence[str] = ()) -> uvicorn.Config:
    """How the HTTP server runs. proxies: addresses or networks whose `X-Forwarded-For` is believed; nobody else's.

    Raises BadValue."""
    networks = []
    for proxy in proxies:
        try:
            networks.append(ipaddress.ip_network(proxy, strict=False))
        except ValueError:
            raise BadValue("--behind-proxy", proxy, "it is the proxy's address, such as 127.0.0.1") from None

    def is_proxy(address: str) -> bool:
        return any(ipaddress.ip_address(address) in network for network in networks) if networks else False

    http, ws = protocols(limits, is_proxy)
    uvicorns = logging.getLogger("uvicorn.error")
    if not any(isinstance(each, Sparing) for each in uvicorns.filters):
        uvicorns.addFilter(Sparing(1.0, 10.0))
    return uvicorn.Config(
        app,
        loop="asyncio",  # uvloop accepts without asking `Threshold`
        http=http,
        ws=ws,
        log_level="warning",
        access_log=False,
        ws_max_size=64 * 1024,
        h11_max_incomplete_event_size=32 * 1024,
        timeout_keep_alive=math.ceil(limits.head_s),
        timeout_graceful_shutdown=2,
        server_header=False,
        proxy_headers=bool(networks),
        forwarded_allow_ips=[str(network) for network in networks],
        ssl_certfile=tls.cert if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )


def threshold(listening: socket.socket, config: uvicorn.Config) -> socket.socket:
    """What the server listens on in place of this socket, which is used up: where it speaks TLS, one that bounds the
    handshakes."""
    http = config.http
    if not config.ssl_certfile or not (isinstance(http, type) and issubclass(http, BoundedHttp)):
        return listening
    return Threshold(listening, http)


def allow_many_files(wanted: int = 4096) -> None:
    """Let this process hold as many sockets as its limits need, where the system grants it."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no `resource`
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def listen(address: Address) -> socket.socket:
    """A listening socket. Raises BadValue (no such address), DeviceError (port taken)."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise BadValue("--host", address.host, "it is no address of this machine") from None
    family, kind, protocol, _, where = found[0]
    tries = [address.port, *range(address.port + 1, address.port + 20), 0] if address.wander else [address.port]
    for port in tries:
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((where[0], port, *where[2:]))
            sock.listen(512)
        except OSError as error:
            sock.close()
            if not is_in_use(error):
                raise BadValue("--host", address.host, f"it cannot be bound ({error.strerror})") from None
            continue
        return sock
    raise DeviceError(f"port {address.port}", "another program uses it", "Choose another one with --port")


def is_in_use(error: OSError) -> bool:
    """The port is taken, or reserved."""
    import errno

    return error.errno in {errno.EADDRINUSE, errno.EACCES}


def reachable_name(host: str) -> str:
    """The address to print for a bound host: for all interfaces, the one that others would use."""
    if host not in {"0.0.0.0", "::", ""}:
        return host
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: it only chooses the interface
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def check_tls(cert: Path | None, key: Path | None) -> Tls | None:
    """Raises BadFile, BadValue."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise BadValue("--tls-cert", cert, "certificate and key belong together: give --tls-cert and --tls-key")
    for path in (cert, key):
        if not path.is_file():
            raise BadFile(path, "no such file")
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (ssl.SSLError, OSError):
        raise BadFile(cert, "is no certificate in PEM form that goes with the key") from None
    return Tls(cert, key)


@contextlib.contextmanager
def self_signed(host: str) -> Iterator[Tls]:
    """A certificate for this machine's names, made now and gone afterwards. Browsers warn once, then
    allow cameras."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "realtime-avatar")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName(socket.gethostname())]
    for text in {"127.0.0.1", "::1", reachable_name(host)}:
        with contextlib.suppress(ValueError):
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    with tempfile.TemporaryDirectory(prefix="avatar-tls-") as folder:
        tls = Tls(Path(folder, "cert.pem"), Path(folder, "key.pem"))
        tls.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        tls.key.touch(mode=0o600)
        tls.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        yield tls


def advice(policy: Policy) -> str | None:
    """What whoever starts the server should know about its address."""
    if is_loopback(policy.host) or policy.tls:
        return None
    return (
        "Browsers give cameras to https pages only: add --tls-self-signed, or --tls-cert and --tls-key "
        "(the sample and watching work without)"
    )
