"""A person to forget, another one to keep, and files of all feeds that name both."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from scripts.forget.person import find
from scripts.forget.rows import forget_rows, known_of
from scripts.land.api import Counts, Part, Record, Reject, begin, land, place_of
from scripts.land.duckdb_api import OnDuckDB
from scripts.land.pipelines import PIPELINE_CALLS
from scripts.land.rules import CALLS, EVENTS, SENDS, VARIANTS, Dataset
from support.land import call, event, land_path, rows, write
from support.sync import TABLES, delivery, metric, moment, write_export

ID, CIO, EMAIL = "ann-77", "cio-ann-77", "Ann.77@Example.com"
NAMES = (ID, CIO, EMAIL)
# what source calls alone say of her
OTHER_EMAIL, NEW_ID = "ann@other.example", "ann-new"
Files = list[tuple[Path, Dataset]]
Landing = Callable[[duckdb.DuckDBPyConnection, Path, int], None]
AT = datetime(2026, 1, 1)


def of_ann(number: int, **data: Any) -> dict[str, Any]:
    identifiers = {"id": ID, "cio_id": CIO, "email": EMAIL}
    named = {
        "delivery_id": f"d{number}",
        "journey_id": f"j{number}",
        "campaign_id": 7,
        "customer_id": ID,
        "identifiers": identifiers,
        "recipient": EMAIL,
        "subject": f"{EMAIL}, your plan",
        "href": f"https://example.com/p?u={ID}&e=Ann.77%40Example.com",
        "variables": {"value": "19.90", "name": "Ann"},
    }
    return event(event_id=f"e{number}", timestamp=1_767_268_800 + number, data={**named, **data})


def of_bob(number: int) -> dict[str, Any]:
    data = {"delivery_id": f"b{number}", "customer_id": "bob-9", "recipient": "bob@example.com"}
    return event(event_id=f"b{number}", data=data)


def calls(folder: Path, version: int) -> Files:
    attrs = {"name": "Ann", "mail": EMAIL}
    broken = json.dumps(call(user_id=ID, copy_id="none"))
    path = write(
        folder / "calls/a.jsonl",
        *(call(user_id=ID, attrs=attrs), call(user_id="bob-9"), call(user_id=EMAIL.upper())),
        *(broken, f"half a line of {EMAIL}", *(call(user_id=f"new-{n}") for n in range(version))),
    )
    return [(path, CALLS)]


def source_calls(folder: Path, version: int) -> Files:
    def said(number: int, **more: Any) -> dict[str, Any]:
        named = {"traits": {"email": EMAIL, "name": "Ann"}, "properties": {"note": f"for {EMAIL}"}}
        # to destinations that know her by her own identifiers, not by those that another call alone says
        knows = more.get("userId") in (ID, f"cio_{CIO}")
        told = {"integrations": {"Customer.io": True, "Ads": {"email": EMAIL}}} if knows else {}
        call = {"type": "identify", "messageId": f"s{number}", "timestamp": 1_767_268_800}
        return {**call, **named, **told, **more}

    lines = (
        *(said(1, userId=ID), said(2), said(3, userId="bob-9", traits={}, properties={})),
        said(4, type="alias", userId=NEW_ID, previousId=ID),
        said(6, userId=NEW_ID, traits={"email": OTHER_EMAIL}, properties={}),
        said(7, userId=f"cio_{CIO}", traits={}, properties={}),
        said(8, userId=OTHER_EMAIL.upper(), type="track", traits={}, properties={}),
        said(5, userId=ID, type="rap"),
        # who has not signed in is a visitor, whom an address names all the same
        said(70, anonymousId="visitor-7", properties={}),
        said(72, userId=" ", properties={}),
        said(71, type="track", traits={}, properties={}, context={"traits": {"email": EMAIL.upper()}}),
        *(said(9 + number, userId=ID) for number in range(version)),
    )
    return [(write(folder / "source_calls/a.jsonl", *lines), PIPELINE_CALLS)]


def two_tables(folder: Path, version: int) -> Files:
    words = call(user_id=..., event_timestamp=..., journey_id=..., action_id=..., campaign_id=..., attrs=...)
    variants = write(folder / "variants/2026/01/01/00/v.jsonl", words)
    send = call(user_id=ID, template_id=..., vars=..., attrs={"name": "Ann"})
    sends = (send, call(user_id="bob-9", template_id=..., vars=...), *([send] * version))
    return [(variants, VARIANTS), (write(folder / "sends/a.jsonl", *sends), SENDS)]


def events(folder: Path, version: int) -> Files:
    only_address = {"customer_id": "", "identifiers": {"id": None, "email": EMAIL.lower()}}
    only_cio = {"customer_id": "", "identifiers": {"id": None, "cio_id": CIO}}
    lines = (
        of_ann(1),
        of_ann(2, **only_address),
        of_ann(3, **only_cio),
        of_bob(1),
        json.dumps(of_ann(4))[:-9],
    )
    return [(write(folder / "events/a.jsonl", *lines, *map(of_bob, range(9, 9 + version))), EVENTS)]


def sync(folder: Path, version: int) -> Files:
    given = {
        "metrics": [metric(1, reason=f"no {EMAIL}", link_url=f"https://x.y/?e={EMAIL}"), metric(2)],
        "deliveries": [delivery(1, internal_customer_id=CIO), delivery(2)],
        "outputs": [
            {"output_id": "o1", "subject_name": "j1", "explanation": f"{ID} has no plan", "seq_num": 1},
            {"output_id": "o2", "subject_name": "j2", "explanation": "stays", "seq_num": 1},
        ],
        "subjects": [{"subject_name": "j1", "internal_customer_id": CIO, "seq_num": 1}],
        "people": [
            {"internal_customer_id": CIO, "customer_id": ID, "email_addr": EMAIL, "seq_num": 1},
            {"internal_customer_id": "c2", "customer_id": "bob-9", "email_addr": "b@x.y", "seq_num": 1},
        ],
        "attributes": [
            {
                "internal_customer_id": CIO,
                "attribute_name": "email",
                "attribute_value": EMAIL,
                "timestamp": moment(1_767_268_801),
            }
        ],
        "delivery_content": [{"delivery_id": "d1", "recipient": EMAIL, "body": f"Hi {ID}", "subject": EMAIL}],
    }
    files: Files = []
    for name, records in given.items():
        more = [{**records[-1], "seq_num": number} for number in range(5, 5 + version)]
        if name == "attributes":
            more = []
        path = folder / f"sync/{name}_v4_1_{version}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        files.append((write_export(path, TABLES[name], [*records, *more]), TABLES[name]))
    return files


def cells(connection: duckdb.DuckDBPyConnection, *names: str) -> list[tuple[str, str]]:
    """Columns of all landing tables, with the text of cells that hold one of the names."""
    found = []
    for table_name, column in connection.execute(
        "select table_name, column_name from duckdb_columns() where schema_name = 'staging' "
        "and data_type in ('VARCHAR', 'JSON')"
    ).fetchall():
        where = " or ".join(["contains(lower(cell), lower(?))"] * len(names))
        query = f'select cell from (select cast("{column}" as varchar) as cell from staging.{table_name})'
        texts = connection.execute(f"{query} where {where}", list(names)).fetchall()
        found += [(f"{table_name}.{column}", text) for (text,) in texts]
    return found


def forget_ann(connection: duckdb.DuckDBPyConnection, **named: str) -> None:
    """What `copymart forget` does after the owner confirms its plan."""
    tables = OnDuckDB(connection)
    person = find(place_of(tables), named.get("customer_id"), named.get("email"))
    forget_rows(tables, known_of(place_of(tables), person.identifiers), person.identifiers)


def landing(files_of: Callable[[Path, int], Files]) -> Landing:
    """The way in by files."""

    def land_files(connection: duckdb.DuckDBPyConnection, folder: Path, version: int) -> None:
        for path, dataset in files_of(folder, version):
            land_path(connection, path, dataset)

    return land_files


def extract(connection: duckdb.DuckDBPyConnection, folder: Path, version: int) -> None:
    tables = OnDuckDB(connection)
    customer = json.dumps({"cio_id": CIO, "id": ID, "email": EMAIL, "attributes": {"name": "Ann"}})
    message = json.dumps({"id": "d1", "customer_id": ID, "recipient": EMAIL, "subject": "Hi", "n": version})
    records = {
        "customers": [Record("customers", CIO, "", customer, AT)],
        "messages": [Record("messages", "d1", "", message, AT, 1, version)],
        "segment_members": [Record("segment_members", f"3/{CIO}", "3", customer, AT)],
    }
    for entity, found in records.items():
        begin(tables)
        land(
            tables, Part(entity, found, [Reject(entity, "", json.dumps([EMAIL]), "not_an_object")]), Counts()
        )


def reconciled(connection: duckdb.DuckDBPyConnection) -> None:
    """R1: the rows and rejects of each file are those that the ledger says."""
    ledger = rows(connection, "select dataset, file, row_count, reject_count from staging.landed_files")
    for entry in ledger:
        if entry["dataset"] == "customerio_api":
            continue
        for suffix, column in (("", "row_count"), ("_rejects", "reject_count")):
            query = f"select count(*) from staging.{entry['dataset']}{suffix} where _file = ?"
            assert connection.execute(query, [entry["file"]]).fetchall() == [(entry[column],)], entry
