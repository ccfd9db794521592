"""Landing from S3, against moto's server on 127.0.0.1."""

import gzip
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher
from botocore.exceptions import ClientError, EndpointConnectionError, IncompleteReadError

from scripts import s3
from scripts.errors import UserError
from scripts.land import opening
from scripts.land.opening import open_file
from scripts.land.sources import Refused, SourceFile, list_files, locate
from support.fault_proxy import Kind, fault_proxy
from support.land import call, land_path, landed, state, text, warehouse
from support.project import attempt, settings
from support.sync import TABLES, delivery, write_export

SPAN = (datetime(2026, 9, 1), datetime(2026, 9, 2))


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


@pytest.fixture
def store(endpoint: str, request: pytest.FixtureRequest) -> Any:
    """A client whose bucket of this test is empty: `store.bucket` names it."""
    client = s3.client(endpoint_url=endpoint, region="us-east-1")
    client.bucket = re.sub("[^a-z0-9]+", "-", f"land-{request.node.name.lower()}")[:60].strip("-")
    client.create_bucket(Bucket=client.bucket)
    return client


def put(store: Any, key: str, *records: dict[str, Any] | str) -> None:
    store.put_object(Bucket=store.bucket, Key=key, Body=gzip.compress(text(*records).encode(), mtime=0))


def test_land_again_replace_and_backfill(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = ("2026/08/31/23", "2026/09/01/00", "2026/09/01/05")
    for hour in hours:
        put(store, f"logs/calls/{hour}/a.jsonl.gz", call(user_id=hour), "broken")
    put(store, "logs/calls_old/2026/09/01/00/a.jsonl.gz", call())
    put(store, "logs/calls/2026/09/01/00/_SUCCESS")
    store.put_object(Bucket=store.bucket, Key="logs/calls/2026/09/01/00/", Body=b"")
    uri = f"s3://{store.bucket}/logs/calls"
    connection = warehouse()
    outcome = land_path(connection, uri, store=store)
    assert (outcome.files, outcome.rows, outcome.rejected.total(), outcome.refused) == (3, 3, 3, [])
    files = connection.execute("select distinct _file from staging.justai_calls order by 1").fetchall()
    assert files == [(f"{uri}/{hour}/a.jsonl.gz",) for hour in hours]
    ledger = "select path_hour, content_hash from staging.landed_files order by 1 desc limit 1"
    head = store.head_object(Bucket=store.bucket, Key=f"logs/calls/{hours[2]}/a.jsonl.gz")
    assert connection.execute(ledger).fetchall() == [(datetime(2026, 9, 1, 5), head["ETag"].strip('"'))]

    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_file", lambda *_: pytest.fail("an unchanged object was read"))
        assert land_path(connection, uri + "/", store=store).unchanged == 3

    put(store, f"logs/calls/{hours[1]}/a.jsonl.gz", call(user_id="new"))
    outcome = land_path(connection, uri, store=store)
    assert (outcome.files, outcome.replaced, outcome.unchanged) == (1, 1, 2)
    assert [row["user_id"] for row in landed(connection)] == [hours[0], "new", hours[2]]

    store.delete_object(Bucket=store.bucket, Key=f"logs/calls/{hours[1]}/a.jsonl.gz")
    with pytest.raises(UserError, match="2026-09-01T00"):
        land_path(connection, uri, span=SPAN, store=store)
    put(store, f"logs/calls/{hours[1]}/b.jsonl.gz", call(user_id="b"))
    assert land_path(connection, uri, span=SPAN, store=store).removed == 1
    fresh = warehouse()
    land_path(fresh, uri, store=store)
    assert state(connection) == state(fresh)


def test_globs_and_single_objects(store: Any) -> None:
    for key in ("x/a1.jsonl.gz", "x/a2.jsonl.gz", "x/y/a3.jsonl.gz"):
        put(store, key, call())

    def taken(key: str) -> list[str]:
        return [
            file.uri.rsplit("/", 1)[-1] for file in list_files(locate(f"s3://{store.bucket}/{key}"), store)
        ]

    assert taken("x/a*.gz") == ["a1.jsonl.gz", "a2.jsonl.gz"]
    assert taken("x/**/a[23].jsonl.gz") == ["a2.jsonl.gz", "a3.jsonl.gz"]
    assert taken("x/a1.jsonl.gz") == ["a1.jsonl.gz"]
    assert taken("") == ["a1.jsonl.gz", "a2.jsonl.gz", "a3.jsonl.gz"]
    assert taken("x/a") == []


def test_a_listing_of_several_pages(store: Any) -> None:
    keys = [f"calls/{number:04d}.jsonl" for number in range(25)]
    store.meta.events.register(
        "before-parameter-build.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=10)
    )
    for key in keys:
        store.put_object(Bucket=store.bucket, Key=key, Body=b"")
    files = list_files(locate(f"s3://{store.bucket}/calls"), store)
    assert [file.uri for file in files] == [f"s3://{store.bucket}/{key}" for key in keys]


def test_an_object_that_changes_or_goes_between_listing_and_reading(store: Any) -> None:
    put(store, "a.jsonl.gz", call())
    put(store, "b.jsonl.gz", call())
    changed, gone = list_files(locate(f"s3://{store.bucket}"), store)
    put(store, "a.jsonl.gz", call(user_id="other"))
    store.delete_object(Bucket=store.bucket, Key="b.jsonl.gz")
    with pytest.raises(Refused, match="changed while it was read"):
        open_file(changed, store)
    with pytest.raises(Refused, match="is gone"):
        open_file(gone, store)


class Body:
    """A response body that breaks off after `good` bytes."""

    def __init__(self, data: bytes, good: int | None = None) -> None:
        self.data, self.good = data, good

    def iter_chunks(self, _: int) -> Iterator[bytes]:
        yield self.data[: self.good]
        if self.good is not None:
            raise IncompleteReadError(actual_bytes=self.good, expected_bytes=len(self.data))


def test_a_body_that_breaks_off_is_read_on() -> None:
    data = bytes(range(200))
    ranges: list[str | None] = []

    class Store:
        def get_object(self, **wanted: Any) -> dict[str, Any]:
            ranges.append(wanted.get("Range"))
            start = int((wanted.get("Range") or "bytes=0-")[6:-1])
            if len(ranges) == 3:
                raise EndpointConnectionError(endpoint_url="x")
            return {"Body": Body(data[start:], 60 if len(ranges) < 4 else None)}

    opened = open_file(SourceFile("s3://b/k.jsonl", 200, "jsonl", etag="e"), Store())
    assert opened.stream.read() == data
    assert ranges == [None, "bytes=60-", "bytes=120-", "bytes=120-"]


def test_errors_say_what_to_do(store: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="bucket does not exist"):
        list_files(locate("s3://no-such-bucket-here/x"), store)
    with pytest.raises(UserError, match="no files to land"):
        land_path(warehouse(), f"s3://{store.bucket}/nothing", store=store)
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")
    assert "--role-arn" in s3.explain(denied)
    nowhere = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(UserError, match="--endpoint-url"):
        list_files(locate("s3://b/x"), nowhere)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(UserError, match="no AWS credentials"):
        list_files(locate("s3://b/x"), s3.client(endpoint_url=endpoint, region="us-east-1"))
    with pytest.raises(UserError, match="no AWS credentials to assume"):
        s3.client(role_arn="arn:aws:iam::123456789012:role/reader", endpoint_url=endpoint)


FAULTS = [
    *(Kind.SLOW_DOWN, Kind.INTERNAL_ERROR, Kind.DENIED, Kind.EXPIRED, Kind.ERROR_IN_200),
    *(Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.CUT_RESPONSE, Kind.REWRITE),
]


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.name.lower())
def test_every_fault_of_s3_is_told_in_a_line(
    store: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    put(store, "calls/a.jsonl.gz", *(call(user_id=f"{n}") for n in range(99)))
    # how often botocore tries again is not what is tested
    monkeypatch.setattr(s3, "CONFIG", s3.CONFIG.merge(Config(retries={"total_max_attempts": 1})))
    location = locate(f"s3://{store.bucket}/calls")
    with fault_proxy(endpoint) as proxy:
        client = s3.client(endpoint_url=proxy.address)
        (file,) = list_files(location, client)
        proxy.add(kind, times=99, rewrite=lambda body: b"<no" + body[:20])
        with pytest.raises(UserError) as listing:
            list_files(location, client)
        assert "\n" not in str(listing.value) and len(str(listing.value)) < 500
        assert str(listing.value).startswith(f"{location.given}: ")
        if kind is Kind.REWRITE:  # any bytes may be an object's
            return
        with pytest.raises(Refused) as reading:
            open_file(file, client)
        assert "\n" not in str(reading.value) and len(str(reading.value)) < 500


def test_a_refusal_that_breaks_off_is_told_in_a_line(
    store: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "calls/a.jsonl.gz", call())
    location = locate(f"s3://{store.bucket}/calls")
    monkeypatch.setattr(s3, "CONFIG", s3.CONFIG.merge(Config(retries={"total_max_attempts": 1})))
    with fault_proxy(endpoint) as refusing, fault_proxy(refusing.address) as cutting:
        client = s3.client(endpoint_url=cutting.address)
        (file,) = list_files(location, client)
        refusing.add(Kind.DENIED, times=99)
        cutting.add(Kind.CUT_RESPONSE, times=99)
        with pytest.raises(UserError, match=r"^s3://.*/calls: .* broke off .*: run the command again$"):
            list_files(location, client)
        with pytest.raises(Refused, match=r"^it cannot be read: .* broke off .*: run the command again$"):
            open_file(file, client)


def test_a_role_is_assumed_with_its_external_id(
    store: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a.jsonl.gz", call())
    asked: list[dict[str, Any]] = []
    original: Callable[..., Any] = AssumeRoleCredentialFetcher._assume_role_kwargs

    def spy(fetcher: Any) -> dict[str, Any]:
        asked.append(original(fetcher))
        return asked[-1]

    monkeypatch.setattr(AssumeRoleCredentialFetcher, "_assume_role_kwargs", spy)
    client = s3.client("arn:aws:iam::123456789012:role/reader", "secret-1", endpoint, "us-east-1")
    assert len(list_files(locate(f"s3://{store.bucket}"), client)) == 1
    assert asked[0]["RoleArn"] == "arn:aws:iam::123456789012:role/reader"
    assert asked[0]["ExternalId"] == "secret-1"
    assert client._request_signer._credentials.access_key != "testing"


def test_a_landing_on_s3_gives_the_feeds_that_lie_there(store: Any, endpoint: str, tmp_path: Path) -> None:
    run_in = settings(tmp_path) | {"AWS_ENDPOINT_URL": endpoint}
    landing = f"s3://{store.bucket}/logs"
    nothing = attempt(run_in, "copymart", "land", "--landing", landing)
    assert (nothing.status, "no feed lies there" in nothing.output) == (1, True)
    name = "deliveries_v4_111528_1.parquet"
    export = write_export(tmp_path / name, TABLES["deliveries"], [delivery(1)])
    store.put_object(Bucket=store.bucket, Key=f"logs/customerio/sync/{name}", Body=export.read_bytes())
    put(store, "logs/justai/calls/a.jsonl.gz", call())
    done = attempt(run_in, "copymart", "land", "--landing", f"{landing}/")
    assert done.status == 0, done.output
    with duckdb.connect(run_in["COPYMART_DUCKDB"]) as connection:
        found = connection.execute("select dataset, file from staging.landed_files order by 1").fetchall()
    assert found == [
        ("customerio_deliveries", f"{landing}/customerio/sync/{name}"),
        ("justai_calls", f"{landing}/justai/calls/a.jsonl.gz"),
    ]
