"""Lines that landing must reject, and blank ones, which it must ignore."""

import duckdb
import pyarrow as pa

from scripts.simulate.plan import Plan

GOOD_CALL = (
    '"event_timestamp":1767268801,"user_id":"u-0","campaign_id":101,"action_id":1010,"journey_id":"J0",'
    '"copy_id":"3f0c9b52-6a1e-4d0b-9a43-5f0b8c2d7e11","template_id":"welcome-email","vars":{"a":"1"},"attrs":{}'
)
GOOD_EVENT = (
    '"event_id":"E0","object_type":"email","metric":"sent","timestamp":1767268801,"data":{"delivery_id":"x"}'
)
# Lines that landing must reject, each with the reason; None for a blank line, which counts as no line.
JUNK: dict[str, tuple[tuple[bytes, str | None], ...]] = {
    "justai_calls": (
        (("{" + GOOD_CALL[:60]).encode(), "malformed_json"),
        (b"oops", "malformed_json"),
        (b"\x93\xff\x00\x01\x80{junk}", "invalid_utf8"),
        (b'["not","an","object"]', "not_an_object"),
        (b"17", "not_an_object"),
        (("{" + GOOD_CALL.replace('"copy_id"', '"copy"') + "}").encode(), "missing_copy_id"),
        (("{" + GOOD_CALL.replace("3f0c9b52-", "3f0c9b52") + "}").encode(), "bad_copy_id"),
        (("{" + GOOD_CALL.replace("3f0c9b52", "zf0c9b52") + "}").encode(), "bad_copy_id"),
        (("{" + GOOD_CALL.replace('"template_id"', '"template"') + "}").encode(), "missing_template_id"),
        (("{" + GOOD_CALL.replace('"welcome-email"', "null") + "}").encode(), "missing_template_id"),
        (("{" + GOOD_CALL.replace('"event_timestamp"', '"time"') + "}").encode(), "missing_event_timestamp"),
        (("{" + GOOD_CALL.replace("1767268801", '"yesterday"') + "}").encode(), "bad_event_timestamp"),
        (
            ("{" + GOOD_CALL.replace("1767268801", "4102444800") + "}").encode(),
            "event_timestamp_out_of_bounds",
        ),
        (
            ("{" + GOOD_CALL.replace("1767268801", "946684799") + "}").encode(),
            "event_timestamp_out_of_bounds",
        ),
        (("{" + GOOD_CALL.replace("101,", "101.5,") + "}").encode(), "bad_campaign_id"),
        (("{" + GOOD_CALL.replace("1010,", '"ten",') + "}").encode(), "bad_action_id"),
        (("{" + GOOD_CALL.replace('{"a":"1"}', '{"a":"1","a":"2"}') + "}").encode(), "duplicate_key_in_vars"),
        (("{" + GOOD_CALL.replace("{}", '{"a":"1","a":"1"}') + "}").encode(), "duplicate_key_in_attrs"),
        (b"", None),
        (b"  ", None),
    ),
    "customerio_events": (
        (("{" + GOOD_EVENT[:70]).encode(), "malformed_json"),
        (b"\x00\xc3\x28garbage", "invalid_utf8"),
        (b'"text"', "not_an_object"),
        (("{" + GOOD_EVENT.replace('"event_id"', '"id"') + "}").encode(), "missing_event_id"),
        (("{" + GOOD_EVENT.replace('"timestamp"', '"time"') + "}").encode(), "missing_timestamp"),
        (("{" + GOOD_EVENT.replace("1767268801", '"soon"') + "}").encode(), "bad_timestamp"),
        (("{" + GOOD_EVENT.replace("1767268801", "946684799") + "}").encode(), "timestamp_out_of_bounds"),
        (b"", None),
        (b"\t", None),
    ),
}


def add_junk(con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Add lines that must be rejected, and blank ones, to the hours of the calls."""
    for number, (dataset, kinds) in enumerate(JUNK.items()):
        con.register(
            "kinds",
            pa.table(
                {
                    "kind": list(range(len(kinds))),
                    "raw": [raw for raw, _ in kinds],
                    "reason": [why for _, why in kinds],
                }
            ),
        )
        con.execute(
            """
            insert into junk
            select $dataset,
                plan_start() // 3600 + draw_int(i * 2 + $number, 'hour of junk', 0, plan_days() * 24 - 1),
                i, k.raw, k.reason
            from range(1, $lines + 1) t(i) join kinds k on k.kind = i % $kinds
            order by i
            """,
            {
                "dataset": dataset,
                "number": number,
                "lines": 3 * len(kinds) + plan.calls // 1000,
                "kinds": len(kinds),
            },
        )
        con.unregister("kinds")
