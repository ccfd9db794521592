"""A bucket to unload to and the warehouse that is unloaded, with the requests that the commands send."""

import hashlib
import io
import json
from typing import Any

import duckdb
import pyarrow.parquet as parquet
import pytest
import typer

from scripts import s3
from scripts.unload import command as unload_module
from scripts.unload import verify as verify_module
from scripts.unload.places.base import LOCK
from scripts.unload.places.s3 import Bucket
from scripts.unload.verify import verify
from support.unload import Warehouse

WRITES = ("PutObject", "DeleteObjects", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")


class Store:
    """A bucket of this test, a warehouse, and the calls that the commands sent to S3."""

    def __init__(self, warehouse: Warehouse, endpoint: str, bucket: str) -> None:
        self.warehouse, self.endpoint, self.bucket = warehouse, endpoint, bucket
        self.client = s3.client(endpoint_url=endpoint, region="us-east-1")
        self.client.create_bucket(Bucket=bucket)
        self.to = f"s3://{bucket}/an/export"
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def spy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Note the calls of the commands' clients from now on."""
        original = s3.client

        def spied(*arguments: Any, **options: Any) -> Any:
            client = original(*arguments, **options)
            client.meta.events.register(
                "before-parameter-build.s3",
                lambda params, model, **_: self.sent.append((model.name, dict(params))),
            )
            return client

        for module in (unload_module, verify_module):
            monkeypatch.setattr(module.s3, "client", spied)

    def unload(self, *datasets: str, **options: Any) -> list[str]:
        """Run copymart unload and return the keys of data that it wrote, below the place."""
        self.sent.clear()
        self.warehouse.unload(*datasets, to=self.to, endpoint_url=self.endpoint, **options)
        return self.written()

    def written(self) -> list[str]:
        keys = {params["Key"] for name, params in self.sent if name in ("PutObject", "CreateMultipartUpload")}
        return sorted(key.removeprefix("an/export/") for key in keys if "/_" not in key)

    def writes(self) -> list[str]:
        return [name for name, _ in self.sent if name in WRITES]

    def all_keys(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return sorted(
            each["Key"].removeprefix("an/export/") for page in pages for each in page.get("Contents", ())
        )

    def data_keys(self) -> list[str]:
        return [key for key in self.all_keys() if "/_" not in key and key != LOCK]

    def body(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=f"an/export/{key}")["Body"].read())

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"an/export/{key}", Body=body)

    def lose(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"an/export/{key}")

    def manifest(self, dataset: str) -> dict[str, Any]:
        return dict(json.loads(self.body(f"{dataset}/_manifest.json")))

    def rows(self, dataset: str) -> list[tuple[object, ...]]:
        """Return the rows as a reader of the manifest sees them, checksums compared."""
        rows: list[tuple[object, ...]] = []
        for partition in self.manifest(dataset)["partitions"]:
            for file in partition["files"]:
                body = self.body(f"{dataset}/{file['key']}")
                assert hashlib.sha256(body).hexdigest() == file["sha256"]
                rows += (tuple(row.values()) for row in parquet.read_table(io.BytesIO(body)).to_pylist())
        return sorted(rows, key=str)

    def listed_rows(self, dataset: str) -> list[tuple[object, ...]]:
        """Return the rows as a reader of the listing sees them."""
        tables = [
            parquet.read_table(io.BytesIO(self.body(key)))
            for key in self.data_keys()
            if key.startswith(f"{dataset}/")
        ]
        return sorted((tuple(row.values()) for table in tables for row in table.to_pylist()), key=str)

    def bucket_place(self, **options: Any) -> Bucket:
        return Bucket(self.client, self.bucket, "an/export/", {}, **options)

    def verify(self, *datasets: str, **options: Any) -> int:
        """Run copymart verify and return its exit status."""
        try:
            verify(
                self.to,
                list(datasets) or None,
                endpoint_url=self.endpoint,
                project_dir=self.warehouse.folder,
                profiles_dir=self.warehouse.folder,
                **options,
            )
        except typer.Exit as ended:
            return ended.exit_code
        return 0


def expected(store: Store, query: str = "select * exclude (content_hash) from marts.fct_calls") -> list[Any]:
    with duckdb.connect(str(store.warehouse.file)) as connection:
        return sorted(connection.execute(query).fetchall(), key=str)


def lock_of(store: Store, seconds: float) -> None:
    said = {"run_id": "another", "host": "there", "started_at": "2026-01-01T05:30:00+00:00"}
    store.put(LOCK, json.dumps(said | {"lease_seconds": seconds}).encode())


def not_implemented(**_: Any) -> Any:
    """Answer in place of a server that does not know a request."""

    class Answer:
        status_code, headers, content = 501, {}, b"<Error><Code>NotImplemented</Code></Error>"

    said = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
    return Answer(), said


def refuse_if_match(params: dict[str, Any], **_: Any) -> Any:
    """Answer as a server that does not know the header; None sends the request."""
    return not_implemented() if "If-Match" in params["headers"] else None
