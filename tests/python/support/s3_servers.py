"""S3 servers for tests: real processes that speak the protocol on 127.0.0.1."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

# It ends with the pipe it reads, so also when the tests are killed.
MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""

# What a machine may have set and must not reach a test, and what the test sets instead.
UNSET = (
    *("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
)
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment with the tests' AWS settings and no others."""
    clean = {name: value for name, value in os.environ.items() if name not in UNSET}
    return clean | ENVIRONMENT | more


@contextmanager
def moto() -> Iterator[str]:
    """Run moto's server (S3, STS, IAM, KMS) in a process of its own, and yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    assert process.stdin and process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


# Swift reads its cluster's settings from a fixed path below /etc, unless set before all other imports.
SWIFT = """
import sys
import swift.common.utils
swift.common.utils.SWIFT_CONF_FILE = sys.argv[3]
from swift.common.wsgi import run_wsgi
sys.exit(run_wsgi(sys.argv[2], sys.argv[1]))
"""
SWIFT_STORES = ("account", "container", "object")
SWIFT_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {folder}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""
SWIFT_STORE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
devices = {folder}/devices
mount_check = false
workers = 0
swift_dir = {folder}
log_level = ERROR
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
SWIFT_CLUSTER = """
[swift-hash]
swift_hash_path_prefix = tests
swift_hash_path_suffix = tests
[storage-policy:0]
name = one
default = yes
"""


class Swift:
    """OpenStack Swift with its S3 interface: one of each server, one device, everything below one folder.

    It checks signatures and checksums, and keeps what it acknowledged when it is killed.
    """

    key, secret = "test:tester", "only-for-tests"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {kind: free_port() for kind in (*SWIFT_STORES, "proxy")}
        self.address = f"http://127.0.0.1:{self.ports['proxy']}"
        self.processes: list[subprocess.Popen[bytes]] = []
        (folder / "devices/d1").mkdir(parents=True)
        (folder / "swift.conf").write_text(SWIFT_CLUSTER)
        account, user = self.key.split(":")
        names = {"folder": folder, "account": account, "user": user, "secret": self.secret}
        (folder / "proxy.conf").write_text(SWIFT_PROXY.format(port=self.ports["proxy"], **names))
        for kind in SWIFT_STORES:
            text = SWIFT_STORE.format(kind=kind, port=self.ports[kind], folder=folder)
            (folder / f"{kind}.conf").write_text(text)
            self._make_ring(kind)

    def _make_ring(self, kind: str) -> None:
        builder = str(self.folder / f"{kind}.builder")
        device = f"r1z1-127.0.0.1:{self.ports[kind]}/d1"
        program = str(Path(sys.executable).parent / "swift-ring-builder")
        for arguments in (["create", "1", "1", "1"], ["add", device, "1"], ["rebalance"]):
            subprocess.run([program, builder, *arguments], check=True, capture_output=True)

    def start(self) -> None:
        """Start the four servers and wait until they answer."""
        with (self.folder / "log").open("ab") as log:
            self.processes = [
                subprocess.Popen(
                    [
                        *(sys.executable, "-c", SWIFT, f"{kind}-server"),
                        *(str(self.folder / f"{kind}.conf"), str(self.folder / "swift.conf")),
                    ],
                    stderr=log,
                    env=environment(),
                )
                for kind in self.ports
            ]
        for attempt in Retrying(
            retry=retry_if_exception_type((BotoCoreError, ClientError)),
            wait=wait_fixed(0.1),
            stop=stop_after_delay(60),
            reraise=True,
        ):
            with attempt, suppress(self.client().exceptions.BucketAlreadyOwnedByYou):
                # a bucket needs all four
                self.client().create_bucket(Bucket="ready")

    def kill(self) -> None:
        """End the servers as a power cut would."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.processes = []

    def client(self) -> Any:
        """Return a client of it."""
        return aws("s3", self.address, self.key, self.secret)


@contextmanager
def swift(folder: Path) -> Iterator[Swift]:
    """Run Swift below a folder, of a file system with extended attributes, and yield it."""
    server = Swift(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def aws(service: str, endpoint: str, key: str = "testing", secret: str = "testing", token: str = "") -> Any:
    """Return a client that tries each request once, so that a test sees what the server said."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token or None,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
