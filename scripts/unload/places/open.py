"""The place that --to or an argument names: a folder, or a prefix on S3."""

import re
from collections.abc import Callable
from typing import Any

from scripts.errors import UserError
from scripts.unload.places.base import Place
from scripts.unload.places.folder import Folder
from scripts.unload.places.s3 import PART_SIZE, Bucket

# S3's limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
LEAST_PART_SIZE, MOST_PART_SIZE = 5 << 20, 5 << 30


def open_place(
    to: str,
    option: str,
    connect: Callable[[], Any],
    headers: dict[str, str] | None = None,
    if_match: bool = True,
    part_size: int = PART_SIZE,
) -> Place:
    """Return the place of a folder's path or an `s3://bucket/prefix`; `option` names it in messages.

    Raises:
        UserError: it is neither, or S3 accepts no parts of this size.
    """
    if not LEAST_PART_SIZE <= part_size <= MOST_PART_SIZE:
        raise UserError(
            f"--part-size: S3 takes parts of {LEAST_PART_SIZE:,} to {MOST_PART_SIZE:,} bytes; write 64M"
        )
    if not to.strip():
        raise UserError(f"{option} is empty: name a folder, or s3://bucket/prefix")
    if not to.startswith("s3://"):
        if "://" in to:
            raise UserError(f"{option} {to}: give a folder, or s3://bucket/prefix")
        if to.lower().startswith("s3:"):
            raise UserError(f"{option} {to}: write s3://bucket/prefix, or ./{to} for a folder of that name")
        return Folder(to)
    bucket, _, path = to.removeprefix("s3://").partition("/")
    prefix = path.strip("/")
    _require_key(f"{option} {to!a}", bucket, prefix)
    return Bucket(connect(), bucket, f"{prefix}/" if prefix else "", headers or {}, if_match, part_size)


def _require_key(given: str, bucket: str, prefix: str) -> None:
    """Refuse what S3 does not accept, and names that programs in between interpret differently."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", bucket):
        raise UserError(f"{given}: {bucket!a} is no name of a bucket: write s3://bucket/prefix")
    for sign in prefix:
        if sign in "?#" or not sign.isprintable():
            raise UserError(f"{given}: {sign!a} may not stand in it: write s3://bucket/prefix")
    for part in prefix.split("/") if prefix else ():
        if part in ("", ".", ".."):
            raise UserError(f"{given}: {part!a} is no name between slashes: write s3://bucket/prefix")


def write_headers(sse: str | None, kms_key_id: str | None, acl: str | None) -> dict[str, str]:
    """Return the arguments of writes for --sse, --kms-key-id and --acl.

    Raises:
        UserError: a KMS key without --sse aws:kms.
    """
    if kms_key_id and not (sse or "").startswith("aws:kms"):
        raise UserError("--kms-key-id belongs to --sse aws:kms: give both")
    named = {"ServerSideEncryption": sse, "SSEKMSKeyId": kms_key_id, "ACL": acl}
    return {name: value for name, value in named.items() if value}
