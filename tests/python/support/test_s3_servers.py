"""What the tests trust Swift with: what a server does not check, a test on it cannot show."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.s3_servers import Swift, aws


@pytest.fixture
def store(swift: Swift) -> Any:
    return swift.client()


def test_swift_checks_signatures_and_checksums(swift: Swift, store: Any) -> None:
    stranger = aws("s3", swift.address, swift.key, "wrong")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.put_object(Bucket="ready", Key="x", Body=b"1")
    with pytest.raises(ClientError, match="BadDigest"):
        store.put_object(Bucket="ready", Key="x", Body=b"1", ChecksumCRC32="AAAAAA==")
    assert store.list_objects_v2(Bucket="ready")["KeyCount"] == 0


def test_swift_knows_only_one_condition(store: Any) -> None:
    etag = store.put_object(Bucket="ready", Key="y", Body=b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        store.put_object(Bucket="ready", Key="y", Body=b"2", IfNoneMatch="*")
    with pytest.raises(ClientError, match="NotImplemented"):
        store.put_object(Bucket="ready", Key="y", Body=b"2", IfMatch=etag)


def test_swift_keeps_what_it_acknowledged_when_it_is_killed(swift: Swift, store: Any) -> None:
    store.put_object(Bucket="ready", Key="kept", Body=b"1")
    upload = store.create_multipart_upload(Bucket="ready", Key="z")["UploadId"]
    part = store.upload_part(Bucket="ready", Key="z", UploadId=upload, PartNumber=1, Body=b"2")["ETag"]
    swift.kill()
    swift.start()
    assert store.get_object(Bucket="ready", Key="kept")["Body"].read() == b"1"
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    store.complete_multipart_upload(Bucket="ready", Key="z", UploadId=upload, MultipartUpload=parts)
    assert store.get_object(Bucket="ready", Key="z")["Body"].read() == b"2"
