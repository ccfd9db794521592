"""The fault proxy does what it says, seen through plain boto3 calls to moto."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ResponseStreamingError

from support.fault_proxy import Kind, Proxy, fault_proxy
from support.s3_servers import aws


@pytest.fixture
def proxy(endpoint: str) -> Iterator[Proxy]:
    with fault_proxy(endpoint) as proxy:
        yield proxy


@pytest.fixture
def behind(endpoint: str, request: pytest.FixtureRequest) -> Any:
    """A client of the server itself, with an empty bucket `box`."""
    client = aws("s3", endpoint)
    client.create_bucket(Bucket="box")
    for each in client.list_objects_v2(Bucket="box").get("Contents", ()):
        client.delete_object(Bucket="box", Key=each["Key"])
    return client


@pytest.fixture
def store(proxy: Proxy, behind: Any) -> Any:
    """A client of the proxy that tries each request once."""
    return aws("s3", proxy.address)


def keys(client: Any) -> list[str]:
    return [each["Key"] for each in client.list_objects_v2(Bucket="box").get("Contents", ())]


def test_without_faults_nothing_changes(proxy: Proxy, store: Any, behind: Any) -> None:
    etag = store.put_object(Bucket="box", Key="a b/ü", Body=b"x" * 100_000, IfNoneMatch="*")["ETag"]
    assert store.get_object(Bucket="box", Key="a b/ü")["Body"].read() == b"x" * 100_000
    assert store.head_object(Bucket="box", Key="a b/ü")["ContentLength"] == 100_000
    with pytest.raises(ClientError, match="PreconditionFailed"):
        store.put_object(Bucket="box", Key="a b/ü", Body=b"y", IfNoneMatch="*")
    store.put_object(Bucket="box", Key="a b/ü", Body=b"y", IfMatch=etag)
    store.delete_object(Bucket="box", Key="a b/ü")
    assert keys(store) == keys(behind) == []
    assert [(each.method, each.status) for each in proxy.seen] == [
        *(
            ("PUT", 200),
            ("GET", 200),
            ("HEAD", 200),
            ("PUT", 412),
            ("PUT", 200),
            ("DELETE", 204),
            ("GET", 200),
        )
    ]
    assert proxy.seen[0].line == "PUT /box/a b/ü"
    assert [each.line for each in proxy.requests("list-type")] == ["GET /box?encoding-type&list-type"]


@pytest.mark.parametrize(
    ("kind", "said", "acted"),
    [
        (Kind.SLOW_DOWN, "SlowDown", False),
        (Kind.INTERNAL_ERROR, "InternalError", False),
        (Kind.ERROR_AFTER, "InternalError", True),
        (Kind.DENIED, "AccessDenied", False),
        (Kind.EXPIRED, "ExpiredToken", False),
        (Kind.RESET_BEFORE, "", False),
        (Kind.RESET_AFTER, "", True),
        (Kind.CUT_REQUEST, "", False),
    ],
)
def test_faults_of_a_write(proxy: Proxy, store: Any, behind: Any, kind: Kind, said: str, acted: bool) -> None:
    proxy.add(kind, "PUT /box/x", first=2, times=2)
    store.put_object(Bucket="box", Key="x1", Body=b"1" * 100_000)
    for key in ("x2", "x3"):
        with pytest.raises(ClientError if said else ConnectionClosedError, match=said or None):
            store.put_object(Bucket="box", Key=key, Body=b"1" * 100_000)
    store.put_object(Bucket="box", Key="x4", Body=b"1")
    assert keys(behind) == (["x1", "x2", "x3", "x4"] if acted else ["x1", "x4"])
    assert [(each.fault, each.acted) for each in proxy.requests("PUT")] == [
        *((None, True), (kind, acted), (kind, acted), (None, True))
    ]


def test_faults_of_a_read(proxy: Proxy, store: Any, behind: Any) -> None:
    behind.put_object(Bucket="box", Key="x", Body=b"1" * 100_000)
    proxy.add(Kind.CUT_RESPONSE, "GET /box/x")
    with pytest.raises(ResponseStreamingError):
        store.get_object(Bucket="box", Key="x")["Body"].read()
    assert len(store.get_object(Bucket="box", Key="x")["Body"].read()) == 100_000
    proxy.add(Kind.FORBID_MISSING, "/box/", times=3)
    assert len(store.get_object(Bucket="box", Key="x")["Body"].read()) == 100_000
    with pytest.raises(ClientError, match="AccessDenied"):
        store.get_object(Bucket="box", Key="y")
    with pytest.raises(ClientError, match="403"):
        store.head_object(Bucket="box", Key="y")
    with pytest.raises(ClientError, match="NoSuchKey"):
        store.get_object(Bucket="box", Key="y")


def test_an_error_in_a_200(proxy: Proxy, store: Any, behind: Any) -> None:
    proxy.add(Kind.ERROR_IN_200, r"POST /box/x\?uploadId")
    upload = store.create_multipart_upload(Bucket="box", Key="x")["UploadId"]
    etag = store.upload_part(Bucket="box", Key="x", UploadId=upload, PartNumber=1, Body=b"1")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    with pytest.raises(ClientError, match="InternalError"):
        store.complete_multipart_upload(Bucket="box", Key="x", UploadId=upload, MultipartUpload=parts)
    assert keys(behind) == []
    store.complete_multipart_upload(Bucket="box", Key="x", UploadId=upload, MultipartUpload=parts)
    assert keys(behind) == ["x"]


def test_a_held_request_waits_for_its_gate(proxy: Proxy, store: Any, behind: Any) -> None:
    held = proxy.add(Kind.HOLD, "PUT /box/x")
    writing = threading.Thread(target=lambda: store.put_object(Bucket="box", Key="x", Body=b"1"))
    writing.start()
    store.put_object(Bucket="box", Key="y", Body=b"1")
    assert keys(behind) == ["y"]
    held.gate.set()
    writing.join()
    proxy.wait_until_quiet()
    assert keys(behind) == ["x", "y"]


def test_something_is_called_before_or_after_the_server_acted(proxy: Proxy, store: Any, behind: Any) -> None:
    found: list[list[str]] = []
    for kind, key in ((Kind.CALL_BEFORE, "x"), (Kind.CALL_AFTER, "y")):
        proxy.add(kind, f"PUT /box/{key}", call=lambda: found.append(keys(behind)))
        with pytest.raises(ConnectionClosedError):
            store.put_object(Bucket="box", Key=key, Body=b"1")
    assert found == [[], ["y"]]


def test_a_response_can_be_rewritten(proxy: Proxy, store: Any) -> None:
    name, other = b"<Name>box</Name>", b"<Name>c</Name>"
    proxy.add(Kind.REWRITE, "GET /box", rewrite=lambda said: said.replace(name, other))
    assert store.list_objects_v2(Bucket="box")["Name"] == "c"
    assert store.list_objects_v2(Bucket="box")["Name"] == "box"
