"""A prefix on S3 as a place to unload to: objects appear whole, conditional writes separate two runs."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from boto3.exceptions import Boto3Error, S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import HTTPError

from scripts import s3
from scripts.errors import UserError
from scripts.unload.places import lease
from scripts.unload.places.base import DELETES_PER_REQUEST, Changed, Found, Read, Run, StillOurs, Upload

# One PUT may hold 5 GiB, but a broken connection then costs all of it.
PART_SIZE = 64_000_000
# S3's limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MOST_PARTS = 10_000
# What a delete of many keys says of a key that it may delete later, in an answer of status 200.
_BUSY = ("InternalError", "OperationAborted", "ServiceUnavailable", "SlowDown")


class _Busy(Exception):
    """The server asks to try again: two simultaneous conditional writes, or some keys of a delete."""


def _again_while_busy() -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(_Busy),
        wait=wait_random_exponential(max=5),
        stop=stop_after_attempt(5),
        reraise=True,
    )


@dataclass(frozen=True)
class Bucket:
    """A prefix of a bucket; `prefix` is empty or ends with a slash.

    `headers`: arguments of every write (ACL, encryption). `if_match`: False for servers without If-Match on
    PUT, where the etag is read just before the write, under a lock that most of them do know. `part_size`:
    a larger file is uploaded in parts of this many bytes.
    """

    client: Any
    bucket: str
    prefix: str
    headers: dict[str, str]
    if_match: bool = True
    part_size: int = PART_SIZE

    @property
    def uri(self) -> str:
        """The address as a user writes it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def list(self, prefix: str) -> list[Found]:
        """Return the objects below a prefix, sorted by key."""
        found = []
        with self._explained(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    key = each["Key"].removeprefix(self.prefix)
                    found.append(Found(key, each["Size"], each["ETag"].strip('"')))
        return found

    def read(self, key: str) -> Read | None:
        """Return a small object; None when there is none."""
        answer = self.get(key)
        return answer[0] if answer else None

    def get(self, key: str) -> tuple[Read, dict[str, Any]] | None:
        """Return a small object and the response it came in.

        botocore does not retry when a body breaks off, so this does.
        """
        with self._explained(key):
            for attempt in Retrying(
                # botocore passes on urllib3's own error when the body of a refusal breaks off
                retry=retry_if_exception_type((BotoCoreError, HTTPError)),
                wait=wait_random_exponential(max=5),
                stop=stop_after_attempt(4),
                reraise=True,
            ):
                with attempt:
                    try:
                        response = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)
                    except ClientError as error:
                        if _status(error) == 404 and s3_code(error) != "NoSuchBucket":
                            return None
                        # S3 answers 403, not 404, to a role that may list only a prefix
                        if _status(error) == 403 and not self._is_listed(key):
                            return None
                        raise
                    return Read(response["Body"].read(), response["ETag"].strip('"')), response
        raise AssertionError("the last attempt raises")

    def _is_listed(self, key: str) -> bool:
        """Return whether the object exists, even if S3 answers 403 for missing ones."""
        try:
            return any(found.key == key for found in self.list(key))
        except UserError:
            return True

    def put(self, key: str, body: bytes, replaces: str | None) -> str:
        """Write an object in place of the one with this etag, or of none; return its etag.

        When the answer to a PUT is lost, botocore sends it again, and the server refuses because our own
        write is there. So the object is read and compared.
        """
        condition: dict[str, str] = {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": f'"{replaces}"'}
        if not self.if_match:
            there = self.read(key)
            if (there.etag if there else None) != replaces:
                raise Changed(key)
            condition = condition if replaces is None else {}
        with self._explained(key):
            for attempt in _again_while_busy():
                with attempt:
                    try:
                        return self._put_bytes(key, body, condition)
                    except ClientError as error:
                        if _status(error) == 501 and replaces is not None:
                            raise UserError(
                                f"{self.uri}: this S3 server does not know If-Match on PUT, which keeps two "
                                "runs apart; give --no-if-match when only one run at a time writes there"
                            ) from error
                        if _status(error) not in (404, 409, 412) or s3_code(error) == "NoSuchBucket":
                            raise
                        there = self.read(key)
                        if there and there.body == body:
                            return there.etag
                        if _status(error) == 409:
                            raise _Busy(f"{key}: {s3_code(error)}") from error
                        raise Changed(key) from error
        raise AssertionError("the last attempt raises")

    def _put_bytes(self, key: str, body: bytes, condition: dict[str, str]) -> str:
        response = self.client.put_object(
            Bucket=self.bucket,
            Key=self.prefix + key,
            Body=body,
            ContentType="application/json",
            **self.headers,
            **condition,
        )
        return str(response["ETag"].strip('"'))

    def put_file(self, key: str, path: Path, sha256: str) -> str:
        """Upload a file, a large one in parts; return its etag."""
        size = path.stat().st_size
        extra = {"ContentType": "application/octet-stream", "Metadata": {"sha256": sha256}, **self.headers}
        full_key = self.prefix + key
        with self._explained(key):
            if size <= self.part_size:
                with path.open("rb") as file:
                    response = self.client.put_object(Bucket=self.bucket, Key=full_key, Body=file, **extra)
                return str(response["ETag"].strip('"'))
            part = max(self.part_size, -(-size // MOST_PARTS))
            config = TransferConfig(multipart_threshold=part, multipart_chunksize=part, max_concurrency=4)
            try:
                self.client.upload_file(str(path), self.bucket, full_key, ExtraArgs=extra, Config=config)
            except S3UploadFailedError:
                # the completion was sent again after a lost answer: the upload is gone, the object exists
                if not self._holds(full_key, size, sha256):
                    raise
            head = self.client.head_object(Bucket=self.bucket, Key=full_key)
            return str(head["ETag"].strip('"'))

    def _holds(self, full_key: str, size: int, sha256: str) -> bool:
        try:
            head = self.client.head_object(Bucket=self.bucket, Key=full_key)
        except (BotoCoreError, ClientError, HTTPError):
            return False
        return bool(head["ContentLength"] == size and head.get("Metadata", {}).get("sha256") == sha256)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, a thousand in a request."""
        for at in range(0, len(keys), DELETES_PER_REQUEST):
            with self._explained(keys[at]):
                self._delete_some([self.prefix + key for key in keys[at : at + DELETES_PER_REQUEST]])

    def _delete_some(self, full_keys: Sequence[str]) -> None:
        """Delete objects in one request, and again what the server only could not delete now."""
        for attempt in _again_while_busy():
            with attempt:
                response = self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in full_keys], "Quiet": True}
                )
                refused = [each for each in response.get("Errors", ()) if each.get("Code") != "NoSuchKey"]
                for each in refused:
                    if each.get("Code") not in _BUSY:
                        said = f"{each.get('Code')} {each.get('Message', '')}"
                        raise UserError(
                            f"s3://{self.bucket}/{each['Key']} cannot be deleted: {said}; s3:DeleteObject is "
                            "needed. Run the same command again"
                        )
                full_keys = [each["Key"] for each in refused]
                if refused:
                    raise _Busy(f"{full_keys[0]}: {refused[0].get('Code')}")

    def delete_own(self, key: str, etag: str) -> None:
        """Delete an object if it has this etag; a server without If-Match on DELETE does not
        compare the etag."""
        with self._explained(key):
            try:
                if self.if_match:
                    self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key, IfMatch=f'"{etag}"')
                    return
            except ClientError as error:
                if _status(error) in (404, 409, 412):
                    return
                if _status(error) != 501:
                    raise
        self.delete([key])

    def fetch(self, key: str, path: Path) -> None:
        """Download an object."""
        with self._explained(key):
            try:
                self.client.download_file(self.bucket, self.prefix + key, str(path))
            except ClientError as error:
                gone = _status(error) in (404, 412) and s3_code(error) != "NoSuchBucket"
                # S3 answers 403, not 404, to a role that may list only a prefix
                if gone or (_status(error) == 403 and not self._is_listed(key)):
                    raise Changed(key) from error
                raise

    def unfinished(self, prefix: str) -> Sequence[Upload]:
        """Return the unfinished multipart uploads below a prefix.

        Raises:
            UserError: the server or the account refuses to list them.
        """
        found = []
        with self._explained(prefix):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            for page in pages:
                for each in page.get("Uploads", ()):
                    found.append(Upload(each["Key"].removeprefix(self.prefix), each["UploadId"]))
        return found

    def abort(self, upload: Upload) -> None:
        """Abort a multipart upload; a missing one is ignored."""
        with self._explained(upload.key), suppress(self.client.exceptions.NoSuchUpload):
            self.client.abort_multipart_upload(
                Bucket=self.bucket, Key=self.prefix + upload.key, UploadId=upload.upload_id
            )

    def lock(self, run: Run, seconds: int) -> AbstractContextManager[StillOurs]:
        """Lock the prefix by a lease on its `_lock`."""
        return lease.held(self, run, seconds)

    def writer(self) -> str | None:
        """Return the run that holds the lock."""
        return lease.writer(self)

    def drafts(self) -> Path:
        """Return the folder for temporary files."""
        return Path(gettempdir())

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn the libraries' errors into one line that says what to do."""
        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error, HTTPError) as error:
            where = f"s3://{self.bucket}/{self.prefix}{key}"
            raise UserError(f"{where}: {_explain(error)}") from error
        except _Busy as busy:
            raise UserError(
                f"s3://{self.bucket}/{busy}: the server was busy five times in a row: run the command again"
            ) from busy


def s3_code(error: ClientError) -> str:
    """Return the code of an S3 error, such as AccessDenied."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


_NEEDED = {
    "ListObjectsV2": "s3:ListBucket",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
}


def _explain(error: Exception) -> str:
    cause = error
    while isinstance(cause, Boto3Error) and cause.__context__ is not None:
        cause = cause.__context__
    role_refused = isinstance(cause, ClientError) and cause.operation_name == "AssumeRole"
    if isinstance(cause, ClientError) and s3_code(cause) in ("AccessDenied", "403") and not role_refused:
        needed = _NEEDED.get(cause.operation_name, "s3:PutObject")
        return (
            f"access denied: {needed} is needed here (and kms:GenerateDataKey, kms:Decrypt with a KMS key); "
            "`copymart policy` prints all permissions, a bucket in another account may need --role-arn"
        )
    return s3.explain(cause)
