"""Parquet and Avro files of JustAI calls."""

import io
import json
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq


def parquet(records: list[dict[str, Any]], **types: pa.DataType) -> bytes:
    text_map = pa.map_(pa.string(), pa.string())
    standard = {
        "event_timestamp": pa.int64(),
        "user_id": pa.string(),
        "campaign_id": pa.int64(),
        "action_id": pa.int64(),
        "journey_id": pa.string(),
        "copy_id": pa.string(),
        "template_id": pa.string(),
        "vars": text_map,
        "attrs": text_map,
    }
    fields = [(name, types.get(name, kind)) for name, kind in standard.items()]
    arrays = []
    for name, kind in fields:
        values = [record.get(name) for record in records]
        if pa.types.is_map(kind):
            values = [list(value.items()) if isinstance(value, dict) else value for value in values]
        elif pa.types.is_string(kind):
            values = [json.dumps(value) if isinstance(value, dict) else value for value in values]
        arrays.append(pa.array(values, kind))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, [name for name, _ in fields]), sink, row_group_size=2)
    return sink.getvalue()


def avro(records: list[dict[str, Any]], codec: str = "null", **types: Any) -> bytes:
    text_map = {"type": "map", "values": "string"}
    standard = {
        "event_timestamp": "long",
        "user_id": "string",
        "campaign_id": "long",
        "action_id": "long",
        "journey_id": "string",
        "copy_id": "string",
        "template_id": "string",
        "vars": text_map,
        "attrs": text_map,
    }
    fields = [{"name": name, "type": ["null", types.get(name, kind)]} for name, kind in standard.items()]
    schema = {"type": "record", "name": "call", "fields": fields}
    sink = io.BytesIO()
    fastavro.writer(sink, schema, records, codec=codec)
    return sink.getvalue()
