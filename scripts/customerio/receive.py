"""copymart receive: takes Customer.io's reporting webhooks and writes files that `copymart land` reads."""

import logging
import os
import re
import secrets
import signal
import socket
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.logging import RichHandler

from scripts import s3
from scripts.console import WHAT, WHERE_TO, console, error_console
from scripts.customerio.deliver import Put, deliver, deliver_rest, to_folder, to_s3
from scripts.customerio.spool import Spool, write_whole
from scripts.errors import UserError

KEYS = "CUSTOMERIO_WEBHOOK_KEYS"
LEAST_AGE_DAYS = 8
"""Customer.io retries for seven days, and may sign each retry with the first one's time."""

EXAMPLES = """
copymart receive --to logs/customerio/events
copymart receive --to s3://acme-data/customerio/events --region eu-west-1
"""


def receive(
    to: Annotated[
        str,
        typer.Option(
            help="Folder or `s3://bucket/prefix` for the files, by hour of arrival.", rich_help_panel=WHERE_TO
        ),
    ],
    spool: Annotated[
        Path,
        typer.Option(
            help="Folder on a disk of this machine, for the log of what was acknowledged and not yet "
            "delivered. Each receiver needs its own, and keeps it when it starts again.",
            rich_help_panel=WHERE_TO,
        ),
    ] = Path("spool"),
    max_spool: Annotated[
        int,
        typer.Option(
            help="Most GB in the spool while the target is away; after that, events are answered 503 and "
            "Customer.io keeps them.",
            min=1,
            rich_help_panel=WHERE_TO,
        ),
    ] = 10,
    host: Annotated[str, typer.Option(help="Address to listen at.", rich_help_panel=WHAT)] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65_535, rich_help_panel=WHAT)
    ] = 8000,
    max_age_days: Annotated[
        int | None,
        typer.Option(
            help="Refuse signatures that are older. Customer.io retries for seven days.",
            min=LEAST_AGE_DAYS,
            show_default="none is too old",
            rich_help_panel=WHAT,
        ),
    ] = None,
    role_arn: s3.RoleArn = None,
    external_id: s3.ExternalId = None,
    endpoint_url: s3.EndpointUrl = None,
    region: s3.Region = None,
) -> None:
    """Receive Customer.io's reporting webhooks, and write them as files for `copymart land --events`.

    The environment variable CUSTOMERIO_WEBHOOK_KEYS has the webhook's signing key; several, with commas
    between them, while you change it. An event is answered 200 once it is on this machine's disk, and reaches
    the target within five minutes, or sooner where there are many. Whatever happens to the process: started
    again with the same --spool, it delivers what it acknowledged. SIGTERM ends it and delivers what is there.

    GET /health answers 200 while events are taken, GET /metrics is for Prometheus. Put a server with TLS in
    front of it.

    \f
    Raises:
        UserError: there is no key, or the spool, the target or the address cannot be used.
    """
    # imported here because they take half a second, which --help should not
    import uvicorn

    from scripts.customerio.webhook import webhooks

    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=error_console, show_path=False)],
    )
    keys = signing_keys(os.environ.get(KEYS, ""))
    put = _target(to, role_arn, external_id, endpoint_url, region)
    listening = _listen(host, port)
    log, receiver = _spool(spool, max_spool * 10**9)
    stop = threading.Event()
    courier = threading.Thread(target=deliver, args=(log, receiver, put, stop), name="deliver", daemon=True)
    courier.start()
    max_age = None if max_age_days is None else max_age_days * 86_400.0
    app = webhooks(log, keys, max_age, lambda: len(log.closed()))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=30,
        )
    )

    def leave(*_signal: object) -> None:
        server.should_exit = True

    # uvicorn sends itself the signal again at its end, which would end the process before it has delivered
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    console.print(f"receiver {receiver} takes events at http://{host}:{listening.getsockname()[1]}/ for {to}")
    try:
        server.run(sockets=[listening])
    finally:
        log.close()
        stop.set()
        courier.join()
        rest = deliver_rest(log, receiver, put)
        log.release()
    console.print(
        f"{rest} segments stay in {spool} for the next start" if rest else "everything is delivered"
    )


def _spool(folder: Path, max_bytes: int) -> tuple[Spool, str]:
    """The log in a folder, and the name of the receiver whose it is."""
    try:
        return Spool(folder, max_bytes), receiver_id(folder)
    except OSError as error:
        raise UserError(
            f"--spool {folder}: {error.strerror or error}: name a folder that can be written, on a disk with "
            "room. What it holds stays"
        ) from error


def signing_keys(text: str) -> list[bytes]:
    """The keys in the environment variable.

    Raises:
        UserError: there is none.
    """
    keys = [key.strip().encode() for key in text.split(",") if key.strip()]
    if not keys:
        raise UserError(
            f"{KEYS} is not set: copy the signing key of the reporting webhook in Customer.io into it; "
            "without one, anybody could send events"
        )
    return keys


def receiver_id(spool: Path) -> str:
    """The name in front of this receiver's files: made once and kept in the spool."""
    path = spool / "id"
    if not path.exists() or not re.fullmatch(rb"[\w.-]+", path.read_bytes()):
        host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-")[:30]
        # whole or not at all: with half a name, files of two receivers could have one name
        write_whole(path, f"{host}-{secrets.token_hex(4)}".encode())
    return path.read_text()


def _target(
    to: str, role_arn: str | None, external_id: str | None, endpoint_url: str | None, region: str | None
) -> Put:
    if not to.strip():
        raise UserError("--to is empty (is a shell variable unset?): name a folder or s3://bucket/prefix")
    if not to.startswith("s3://"):
        folder = Path(to).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--to {to}: {error.strerror}: name a folder that can be written") from error
        return to_folder(folder)
    bucket, _, prefix = to.removeprefix("s3://").partition("/")
    if not bucket:
        raise UserError(f"--to {to} names no bucket: give s3://bucket/prefix")
    return to_s3(s3.client(role_arn, external_id, endpoint_url, region), bucket, prefix)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except UnicodeError as error:
        raise UserError(
            f"--host {host} is no address: give a name or an IP address of this machine"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port}: {error.strerror or error}; give another --port"
        ) from error
    return listening
