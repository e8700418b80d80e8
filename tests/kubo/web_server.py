"""The programs that stand between two members in a tidy network: a web server that ends TLS, and a web proxy."""

from __future__ import annotations

import contextlib
import datetime
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from namespaces import Host

EXAMPLES = Path(__file__).parents[2] / "docs" / "web-server"
NAME = "peers.hospital.org"
"""The name in the examples."""
PROXY_PORT = 8888
_SOON = 60.0


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Files with the certificate of an authority of our own, and with that of `NAME` and its key."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the hospital's own")])
    now = datetime.datetime.now(datetime.UTC)

    def issued(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, is_authority: bool) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
            now + datetime.timedelta(days=9)
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    files = folder / "authority.pem", folder / "server.pem", folder / "server.key"
    files[0].write_bytes(issued(issuer, authority.public_key(), is_authority=True))
    files[1].write_bytes(issued(x509.Name([]), key.public_key(), is_authority=False))
    files[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@contextlib.contextmanager
def nginx(host: Host, folder: Path, certificate: Path, key: Path) -> Iterator[None]:
    """An nginx on a host, set up as our example says."""
    example = (EXAMPLES / "nginx.conf").read_text()
    for written, here in (
        ("/etc/ssl/certs/peers.hospital.org.pem", certificate),
        ("/etc/ssl/private/peers.hospital.org.key", key),
    ):
        assert written in example
        example = example.replace(written, str(here))
    config = folder / "nginx.conf"
    config.write_text(f"pid {folder}/nginx.pid;\nevents {{}}\nhttp {{\n{example}\n}}\n")
    with _running(host.command("nginx", "-e", folder / "nginx.log", "-c", config, "-g", "daemon off;"), host, 443):
        yield


@contextlib.contextmanager
def tinyproxy(host: Host, folder: Path) -> Iterator[Path]:
    """A web proxy on a host, which lets programs CONNECT to port 443 alone. The file of its log."""
    config, log = folder / "tinyproxy.conf", folder / "tinyproxy.log"
    config.write_text(f'Port {PROXY_PORT}\nListen {host.ip}\nConnectPort 443\nLogFile "{log}"\nLogLevel Connect\n')
    with _running(host.command("tinyproxy", "-d", "-c", config), host, PROXY_PORT):
        yield log


@contextlib.contextmanager
def _running(command: list[str], host: Host, port: int) -> Iterator[None]:
    """The program, once it listens."""
    look = f"import socket; socket.create_connection(('{host.ip}', {port}), 1)"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
        try:
            until = time.monotonic() + _SOON
            while subprocess.run(host.command("python3", "-c", look), stderr=subprocess.DEVNULL).returncode:
                assert program.poll() is None, f"{command} ended with {program.returncode}"
                assert time.monotonic() < until, f"{command} does not listen"
            yield
        finally:
            program.terminate()
