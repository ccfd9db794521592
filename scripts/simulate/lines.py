"""The files of a simulation: what is planned, spelled as lines, in folders by the hour they arrived.

`keep` puts a chunk's lines aside, still as columns; `write` spells them hour by hour and compresses files.
"""

import gzip
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from scripts.simulate.plan import Plan

FOLDERS = {"justai_calls": Path("justai/calls"), "customerio_events": Path("customerio/events")}
FILES = {"justai_calls": "calls.jsonl.gz", "customerio_events": "events.jsonl.gz"}
LINES_AT_ONCE = 700_000
# Far above the numbers of planned events, for lines about something else.
OTHER_ID = 2**54


@dataclass(frozen=True)
class Reject:
    """A line that landing must reject; `raw` is None where its bytes are no UTF-8."""

    dataset: str
    file: str
    line: int
    raw: str | None
    reason: str


def prepare(con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Macros for times of arrival and for spelling; the tables that `keep` fills."""
    end_hour = (plan.start + plan.days * 86_400) // 3_600
    outage = plan.start + 86_400 * min(3, plan.days - 1) + 9 * 3_600
    con.execute(f"""
        -- Files are hourly until two days after the last call; what trickles in later comes once a day.
        create macro folder(hour) as
            case when hour > {end_hour + 48} then (hour - 5 + 23) // 24 * 24 + 5 else hour end;
        create macro arrival(instant, k) as folder(instant // 3600 + case
            when draw(k, 'lateness') < 0.965 then 0
            when draw(k, 'lateness') < 0.99 then draw_int(k, 'hours late', 1, 7)
            else draw_int(k, 'weeks late', 300, 1000) end);
        -- One receiver failed for some hours: its events came in a burst.
        create macro event_arrival(instant, k) as arrival(
            case when instant between {outage} and {outage + 5 * 3_600} then {outage + 6 * 3_600}
                else instant end, k);
    """)
    con.execute(SPELLING)
    con.execute(TABLES)


SPELLING = r"""
create macro quoted(value) as '"' || value || '"';
-- A member of an object, with its comma; where the value is null, one of the ways to say so.
create macro member(name, value, k) as coalesce(
    ',"' || name || '":' || value,
    case draw_int(k, 'null of ' || name, 0, 2)
        when 0 then '' when 1 then ',"' || name || '":null' else ',"' || name || '":""' end);
create macro number_text(value, k) as
    case when draw(k, 'number as text') < 0.015 then quoted(value) else value::varchar end;
create macro journey_text(value) as case left(value, 1)
    when '0' then quoted(value) else to_json(value)::varchar end;
create macro envelope(id, object, metric, moment, data) as
    '{"event_id":"' || id || '","object_type":"' || object || '","metric":"' || metric || '","timestamp":'
    || moment || ',"data":{' || data || '}}';
create macro old_envelope(id, name, moment, data) as
    '{"event_id":"' || id || '","event_type":"' || name || '","timestamp":' || moment
    || ',"data":{' || data || '}}';
"""

TABLES = """
create table call_line (
    hour bigint, line_no bigint, spelling bigint, instant bigint, user_id varchar, campaign bigint,
    action bigint, journey varchar, copy_no bigint, version_no bigint, person_no bigint);
create table event_line (
    hour bigint, line_no bigint, spelling bigint, channel varchar, kind varchar, metric varchar,
    flags varchar, instant bigint, id_ms bigint, id_no bigint, message_no bigint, user_no bigint,
    journey varchar, action bigint, parent bigint, campaign bigint, note varchar);
create table junk (dataset varchar, hour bigint, junk_no bigint, raw blob, reason varchar);
"""


def keep(con: duckdb.DuckDBPyConnection) -> None:
    """Put the chunk's lines aside: every call and event at least once, some again, some contradicted."""
    con.execute(KEEP_CALLS)
    con.execute(KEEP_EVENTS)


# Lines with one `spelling` are the same text.
KEEP_CALLS = """
insert into call_line by name
with once as (
    select call_no, call_no * 4 as line_no, call_no * 4 as spelling, instant, user_id, campaign, action,
        journey, copy_no, version_no, person_no
    from call_plan
),
line as (
    from once
    union all
    -- delivered again: the same text, or the same call spelled another way
    select * replace (
        line_no + 1 as line_no, spelling + (draw(call_no, 'respelled') < 0.5)::bigint as spelling)
    from once
    where draw(call_no, 'again') < case when journey is null and action is null then 0.2 else 0.012 end
    union all
    select * replace (line_no + 2 as line_no) from once where draw(call_no, 'again') < 0.003
)
select * exclude (call_no),
    case when line_no % 4 = 2 then folder(instant // 3600) else arrival(instant, line_no) end as hour
from line
"""

KEEP_EVENTS = f"""
insert into event_line by name
with once as (
    select event_no, ordinal, event_no * 4 as line_no, event_no * 4 as spelling, channel, kind, metric,
        flags, instant, id_ms, id_no, message_no, user_no, journey, action, parent, campaign, '' as note,
        case when flags in ('accused', 'denied') or event_no <> id_no or instant % 86400 < 120
                or draw(event_no, 'conflict') >= 0.004 then 'none'
            when draw(event_no, 'conflict') < 0.0012 then 'metric'
            when draw(event_no, 'conflict') < 0.0024 then 'flags'
            else 'note' end as conflict
    from event_plan
),
line as (
    from once
    union all
    select * replace (
        line_no + 1 as line_no, spelling + (draw(event_no, 'respelled') < 0.5)::bigint as spelling)
    from once where draw(event_no, 'again') < 0.015
    union all
    -- the same event, told otherwise: the greater time is right, and the plan's
    select * replace (
        line_no + 2 as line_no, spelling + 2 as spelling, ' (corrected)' as note,
        case when conflict <> 'metric' then metric
            when metric = 'spammed' then 'sent' else 'spammed' end as metric,
        case when conflict <> 'flags' then flags when flags in ('prefetched', 'synthetic') then 'human'
            when flags = 'human' then 'prefetched' when flags = 'robot' then 'person'
            when flags = 'person' then 'robot' else flags end as flags,
        case conflict when 'note' then instant
            else instant - draw_int(event_no, 'earlier', 1, 50) end as instant)
    from once where conflict <> 'none'
    union all
    -- told twice of one second: the payload with the greater hash is right, and the plan's
    select * replace (
        line_no + 3 as line_no, spelling + 3 as spelling,
        case flags when 'accused' then 'denied' else 'accused' end as flags)
    from once where flags in ('accused', 'denied')
    union all
    -- about no message: an event of mail that names no delivery
    select * replace (
        line_no + {OTHER_ID} as line_no, id_no + {OTHER_ID} as id_no, null as message_no)
    from once where kind = 'campaign' and ordinal = 5 and draw(event_no, 'no delivery') < 0.006
    union all
    -- whoever unsubscribes by mail does so as a person too
    select * replace (
        line_no + {2 * OTHER_ID} as line_no, id_no + {2 * OTHER_ID} as id_no, 'person' as kind,
        'email' as channel)
    from once where metric = 'unsubscribed' and draw(event_no, 'person') < 0.6
),
-- the call to JustAI as Customer.io reports it
hook as (
    select call_no * 4 + {3 * OTHER_ID} as line_no, line_no as spelling,
        'webhook' as channel, 'campaign' as kind,
        case when draw(call_no, 'hook metric') < 0.92 then 'sent'
            when draw(call_no, 'hook metric') < 0.95 then 'attempted'
            when draw(call_no, 'hook metric') < 0.98 then 'failed' else 'converted' end as metric,
        '' as flags, c.instant - 1 as instant, (c.instant - 1) * 1000 as id_ms, line_no as id_no,
        line_no as message_no, s.user_no, c.journey, c.action, null as parent, c.campaign, '' as note
    from call_plan c join story s using (story_no)
    where c.journey is not null and c.action is not null and draw(call_no, 'hook') < 0.1
),
customer as (
    select (story_no * 16 + n) * 4 + {4 * OTHER_ID} as line_no, line_no as spelling, 'customer' as channel,
        case n when 2 then 'preferences' else 'customer' end as kind,
        ['subscribed', 'unsubscribed', 'cio_subscription_preferences_changed'][n + 1] as metric, '' as flags,
        base_at + n * 100 as instant, instant * 1000 as id_ms, line_no as id_no, line_no as message_no,
        user_no, journey, 2002 as action, null as parent, 200 as campaign, '' as note
    from story join scenario using (scenario_no), range(3) t(n)
    where name = 'customer_events'
)
select *, event_arrival(instant, line_no) as hour
from (
    select * exclude (event_no, ordinal, conflict) from line
    union all by name from hook
    union all by name from customer
)
"""

SPELL_CALLS = r"""
with spelled as (
    select l.*, v.template_id, t.text as vars, p.text as attrs,
        case when draw(l.spelling, 'unit') < 0.93 then l.instant::varchar
            when draw(l.spelling, 'unit') < 0.96
                then (l.instant * 1000 + draw_int(l.spelling, 'ms', 0, 999))::varchar
            when draw(l.spelling, 'unit') < 0.97
                then (l.instant * 1000000 + draw_int(l.spelling, 'us', 0, 999999))::varchar
            else quoted(l.instant) end as moment,
        member('user_id', quoted(user_id), l.spelling) as users,
        member('campaign_id', number_text(campaign, l.spelling), l.spelling) as campaigns,
        member('action_id', case when draw(l.spelling, 'decimal') < 0.003 then action || '.0'
            else number_text(action, l.spelling) end, l.spelling) as actions,
        member('journey_id', journey_text(journey), l.spelling) as journeys,
        case when draw(l.spelling, 'case') < 0.02 then upper(copy_id) else copy_id end as copies
    from call_line l
    join copy using (copy_no)
    join version v using (version_no)
    join version_text t on t.version_no = l.version_no
        and t.rendering = case when draw(l.spelling, 'vars') < 0.85 then 0
            else draw_int(l.spelling, 'vars form', 1, 4) end
    join person p on p.person_no = l.person_no
        and p.rendering = case when draw(l.spelling, 'attrs') < 0.9 then 0
            else draw_int(l.spelling, 'attrs form', 1, 4) end
    where hour >= $first and hour < $last
)
select hour, draw(line_no, 'place in file') as place, line_no, null::varchar as reason, encode(case
    when draw(spelling, 'order') < 0.97 then
        '{"event_timestamp":' || moment || users || campaigns || actions || journeys || ',"copy_id":"'
        || copies || '","template_id":"' || template_id || '"' || vars || attrs || '}'
    else
        '{ "copy_id" : "' || copies || '"' || attrs || journeys || vars || ', "tracking_id":"t-' || spelling
        || '"' || actions || ',"event_timestamp": ' || moment || ' ,"template_id":"' || template_id || '"'
        || campaigns || users || ' }'
    end || chr(10)) as line
from spelled
union all
select hour, draw(junk_no, 'place of junk'), -junk_no, reason, raw || encode(chr(10))
from junk where dataset = 'justai_calls' and hour >= $first and hour < $last
order by hour, place, line_no
"""

SPELL_EVENTS = r"""
with named as (
    select *, ulid(id_ms, any_hash(id_no, 'event id')) as event_id, user_no || '@example.com' as address,
        case when message_no is not null then cio_delivery_id(message_no) end as delivery,
        case when draw(spelling, 'unit') < 0.005 then instant * 1000 + draw_int(spelling, 'ms', 0, 999)
            else instant end as moment,
        case when channel = 'in_app' and draw(spelling, 'object') < 0.3 then 'in-app'
            when channel = 'sms' and draw(spelling, 'object') < 0.3 then 'twilio'
            when draw(spelling, 'object') > 0.995 then upper(channel) else channel end as object,
        -- what two payloads of one second are compared by must not be left to chance
        case when flags in ('accused', 'denied') then 19
            else draw_int(spelling, 'identifiers', 0, 19) end as identified
    from event_line where hour >= $first and hour < $last
),
part as (
    select *,
        case identified
            when 0 then ',"customer_id":"","identifiers":{"id":null,"email":"' || address || '"}'
            when 1 then ',"identifiers":{"id":"u-' || user_no || '"}'
            else ',"customer_id":"u-' || user_no || '","identifiers":{"id":"u-' || user_no
                || '","email":"' || address || '","cio_id":"c' || user_no || '"}' end as person,
        case when left(journey, 1) = '9' then journey else journey_text(journey) end as path,
        case channel
            when 'push' then ',"recipients":[{"device_id":"d' || user_no || '","device_platform":"ios"}]'
            when 'webhook' then ',"recipient":"https://worker.justwords.ai/api/generate/acme"'
            when 'email' then ',"recipient":"' || address || '","subject":"Edition' || note || '"'
            else ',"recipient":"+49' || user_no || note || '"' end as addressed,
        case when metric = 'clicked' then ',"href":"https://www.example.com/plan","link_id":3'
            when metric = 'replied' then ',"inbound_event_id":"i1","to":"+1"'
            when metric in ('attempted', 'bounced', 'failed', 'dropped', 'suppressed', 'undeliverable')
                then ',"failure_message":"no luck: \u00fc again"' else '' end as happened,
        case when channel <> 'email' then '' else case flags
            when 'prefetched' then case draw_int(spelling, 'flags', 0, 2)
                when 0 then ',"prefetched":true'
                when 1 then ',"proxied":true,"prefetched":true,"synthetic":false'
                else ',"proxied":false,"prefetched":true' end
            when 'human' then case draw_int(spelling, 'flags', 0, 9)
                when 0 then '' when 1 then ''
                when 2 then ',"proxied":true,"prefetched":false,"synthetic":false'
                when 3 then ',"prefetched":null' when 4 then ',"proxied":true'
                else ',"proxied":false,"prefetched":false,"synthetic":false' end
            when 'synthetic' then ',"proxied":false,"prefetched":false,"synthetic":true'
            when 'robot' then ',"machine":true'
            when 'accused' then ',"machine":true'
            when 'denied' then ',"machine":false'
            when 'person' then case draw_int(spelling, 'flags', 0, 9)
                when 0 then '' when 1 then '' when 2 then ',"machine":null' else ',"machine":false' end
            else '' end end as flagged
    from named
),
whole as (
    select *,
        case kind
            when 'newsletter' then '"newsletter_id":88,"content_id":301'
            when 'transactional' then '"transactional_message_id":12'
            when 'broadcast' then '"broadcast_id":15,"trigger_id":4'
                || member('journey_id', path, spelling) || member('action_id', action, spelling)
            else '"trigger_event_id":null' || member('campaign_id', number_text(campaign, spelling), spelling)
                || member('journey_id', path, spelling)
                || member('action_id', number_text(action, spelling), spelling)
                || coalesce(',"parent_action_id":' || parent, '') end
            || member('delivery_id', quoted(delivery), spelling) || person || addressed || happened || flagged
            as data,
        '"email_address":"' || address || '"' || person as of_person,
        draw(spelling, 'style') as style
    from part
)
select hour, draw(line_no, 'place in file') as place, line_no, null::varchar as reason, encode(case
    when kind = 'legacy' then old_envelope(event_id, 'email_' || metric, instant,
        '"customer_id":"u-' || user_no || '","email_address":"' || address || '","email_id":"' || delivery
        || '","template_id":5,"variables":{"campaign":{"id":3,"name":"old"}}')
    when kind = 'person' then envelope(event_id, 'email', metric, instant, of_person)
    when kind = 'customer' then envelope(event_id, 'customer', metric, instant, of_person)
    when kind = 'preferences' and style < 0.5 then
        replace(envelope(event_id, 'customer', metric, instant, data), 'object_type', 'object_type_type')
    when kind = 'preferences' then
        envelope(event_id, 'customer', 'customer_subscription_preferences_changed', instant, data)
    when style < 0.01 then old_envelope(event_id, object || '_' || metric, moment, data)
    when style < 0.016 then '{"event_id":"' || event_id || '","timestamp":' || instant
        || ',"data":{"event_type":"' || channel || '_' || metric || '",' || data || '}}'
    when style < 0.026 then envelope(event_id, object, channel || '_' || metric, instant, data)
    when style < 0.05 then '{ "data" : {' || data || '} , "timestamp": "' || instant
        || '", "metric" :"' || metric || '", "object_type":"' || object
        || '","received":1,"event_id":"' || event_id || '" }'
    else envelope(event_id, object, metric, moment, data)
    end || case when draw(spelling, 'line end') < 0.003 then chr(13) || chr(10) else chr(10) end) as line
from whole
union all
select hour, draw(junk_no, 'place of junk'), -junk_no, reason, raw || encode(chr(10))
from junk where dataset = 'customerio_events' and hour >= $first and hour < $last
order by hour, place, line_no
"""

GOOD_CALL = (
    '"event_timestamp":1767268801,"user_id":"u-0","campaign_id":101,"action_id":1010,"journey_id":"J0",'
    '"copy_id":"3f0c9b52-6a1e-4d0b-9a43-5f0b8c2d7e11","template_id":"welcome-email","vars":{"a":"1"},"attrs":{}'
)
GOOD_EVENT = (
    '"event_id":"E0","object_type":"email","metric":"sent","timestamp":1767268801,"data":{"delivery_id":"x"}'
)
# Lines that landing must refuse, each with the reason; a reason of None: a blank line, which is no line.
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
    """Strew lines that must be rejected, and blank ones, over the hours of the calls."""
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


def write(
    con: duckdb.DuckDBPyConnection, out: Path, advance: Callable[[int], None]
) -> tuple[dict[str, int], list[Reject]]:
    """Spell and compress all lines; return lines per dataset and the lines that must be rejected."""
    lines: dict[str, int] = {}
    rejects: list[Reject] = []
    with ThreadPoolExecutor(2) as pool:
        for dataset, table, spell in (
            ("justai_calls", "call_line", SPELL_CALLS),
            ("customerio_events", "event_line", SPELL_EVENTS),
        ):
            lines[dataset] = 0
            for first, last in batches(con, table, dataset):
                advance(1)
                rows = con.sql(spell, params={"first": first, "last": last}).to_arrow_table()
                hours = rows.column("hour").to_numpy()
                if (np.diff(hours) < 0).any():
                    raise AssertionError("lines came out of order")
                lines[dataset] += len(hours)
                rejects += write_hours(rows, hours, out, dataset, pool)
    return lines, rejects


def batches(con: duckdb.DuckDBPyConnection, table: str, dataset: str) -> Iterator[tuple[int, int]]:
    """Ranges of hours, each of about LINES_AT_ONCE lines, that cover all lines of a dataset."""
    counts = con.execute(f"""
        select hour, count(*) from (
            select hour from {table} union all select hour from junk where dataset = '{dataset}'
        ) group by hour order by hour
    """).fetchall()
    first, held = None, 0
    for hour, count in counts:
        if first is not None and held + count > LINES_AT_ONCE:
            yield first, hour
            first, held = None, 0
        first, held = hour if first is None else first, held + count
    if first is not None:
        yield first, counts[-1][0] + 1


def write_hours(
    rows: pa.Table, hours: np.ndarray, out: Path, dataset: str, pool: ThreadPoolExecutor
) -> list[Reject]:
    """Write one file per hour from rows in order of hours; return the rejects among them."""
    column = pa.concat_arrays(rows.column("line").cast(pa.large_binary()).chunks)
    _, offset_buffer, data = column.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    text = memoryview(data)
    begins = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
    ends = np.append(begins[1:], len(hours))
    files = {}
    jobs = []
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        folder = FOLDERS[dataset] / datetime.fromtimestamp(int(hours[begin]) * 3_600, UTC).strftime(
            "%Y/%m/%d/%H"
        )
        files[begin] = folder / FILES[dataset]
        jobs.append(pool.submit(compress, out / files[begin], text[offsets[begin] : offsets[end]]))
    for job in jobs:
        job.result()
    reasons = rows.column("reason")
    found = []
    for row in np.flatnonzero(reasons.is_valid().to_numpy()).tolist():
        begin = int(begins[np.searchsorted(begins, row, side="right") - 1])
        raw = bytes(text[offsets[row] : offsets[row + 1] - 1])
        found.append(
            Reject(dataset, files[begin].as_posix(), row - begin + 1, decoded(raw), reasons[row].as_py())
        )
    return found


def decoded(raw: bytes) -> str | None:
    """The text of a line; None where its bytes are no UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def compress(path: Path, text: memoryview) -> None:
    """Write a gzip file without name and time in its header, so that equal text gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, compresslevel=1, mtime=0))
