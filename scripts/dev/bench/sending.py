"""Measures `copymart send`: requests per second with the ledger, and memory.

`python -m scripts.dev.bench.sending REQUESTS` sends so many requests from a DuckDB file to a server in a
process of its own, which answers `{}` over TLS, and prints Markdown. With `serve FOLDER` it is that server.
"""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import duckdb
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.console import console
from scripts.dev.bench.measure import Cost, measured

PROJECT = Path(__file__).parents[3]
_HEAD, _HOST = b"\r\n\r\n", "127.0.0.1"
# Half are attributes of a person, half events; a person has ten requests. About 300 bytes each.
_REQUESTS = """
create schema marts_outbound;
create table marts_outbound.outbound_requests as
select
    sha256('m' || n) as request_id,
    'm' || n as message_id,
    case when n % 2 = 0 then 'create_or_update_person' else 'track_event' end as action,
    timestamp '2026-03-01' + to_seconds(n) as happened_at,
    n as request_number,
    'batch' as endpoint,
    'u' || person as person_key,
    n % 2 = 1 as is_event,
    '{"type":"person","identifiers":{"id":"u' || person || '"},"timestamp":' || 1772323200 + n
    || case when n % 2 = 0
        then ',"action":"identify","attributes":{"email":"u' || person || '@example.com","city":"Z","note":"'
        else ',"action":"event","name":"Plan Viewed","id":"m' || n || '","attributes":{"page":"plan","note":"'
    end
    || repeat('x', 140) || '"}}' as payload,
    sha256(payload) as content_hash,
    cast(null as varchar) as held_back_reason
from (select range as n, hash(range) % greatest(1, {requests} // 10) as person from range({requests}))
"""


def bench_sending(requests: int, folder: Path) -> str:
    """Measure a first run, which sends all, and a second, which has nothing to send; return Markdown."""
    database = folder / "warehouse.duckdb"
    with duckdb.connect(str(database)) as connection:
        for statement in _REQUESTS.replace("{requests}", str(requests)).split(";"):
            connection.execute(statement)
    shutil.copy(PROJECT / "profiles.yml.example", folder / "profiles.yml")
    _certificate(folder)
    server = subprocess.Popen([sys.executable, "-m", "scripts.dev.bench.sending", "serve", str(folder)])
    try:
        port = _port(folder)
        command = [
            *(sys.executable, "-c", "from scripts.cli import main; main()", "send", "--since", "2026-01-01"),
            *("--api-url", f"https://{_HOST}:{port}", "--spool", str(folder / "outbound")),
        ]
        environment = os.environ | {
            "DBT_PROFILES_DIR": str(folder),
            "COPYMART_DUCKDB": str(database),
            "REQUESTS_CA_BUNDLE": str(folder / "server.pem"),
            "CUSTOMERIO_SITE_ID": "site",
            "CUSTOMERIO_TRACK_API_KEY": "key",
        }
        first, _ = measured(command, environment, database)
        second, _ = measured(command, environment, database)
    finally:
        server.kill()
        server.wait()
    with duckdb.connect(str(database), read_only=True) as connection:
        query = "select count(distinct request_id) from staging.outbound_acknowledgements"
        assert connection.execute(query).fetchall() == [(requests,)], "the ledger lacks requests"
    return _markdown(requests, first, second)


def _markdown(requests: int, first: Cost, second: Cost) -> str:
    lines = [
        "| run | s | processor s | requests per second | per processor second | peak memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        f"| {requests:,} requests | {first.wall:.0f} | {first.processor:.0f} | {requests / first.wall:,.0f} "
        f"| {requests / first.processor:,.0f} | {first.memory / 2**20:,.0f} MiB |",
        f"| the same again: nothing to send | {second.wall:.0f} | {second.processor:.0f} | | "
        f"| {second.memory / 2**20:,.0f} MiB |",
    ]
    return "\n".join(lines) + "\n"


def _certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _HOST)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(_HOST))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _port(folder: Path) -> int:
    while not (folder / "port").exists():
        time.sleep(0.05)
    return int((folder / "port").read_text())


async def serve(folder: Path) -> None:
    """Answer every request with an empty JSON object."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(_HEAD)).lower()
                _, _, length = head.partition(b"content-length: ")
                await reader.readexactly(int(length.split(b"\r\n")[0] or 0))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    server = await asyncio.start_server(answer, _HOST, 0, ssl=context)
    beside = folder / "port.new"
    beside.write_text(str(server.sockets[0].getsockname()[1]))
    beside.rename(folder / "port")
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(Path(sys.argv[2])))
    else:
        with tempfile.TemporaryDirectory(prefix="copymart-bench-") as made:
            console.print(bench_sending(int(sys.argv[1]), Path(made)))
