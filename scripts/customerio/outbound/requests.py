"""The plan of `copymart send`: which requests go out, and why others do not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from scripts.customerio.outbound.ledger import REQUESTS, STARTS, Warehouse, insert, relation
from scripts.customerio.outbound.sizes import MOST_ITEM_BYTES
from scripts.customerio.outbound.spool import BARRIER, CHANGE, EVENT, Item
from scripts.errors import UserError

LAYER, MODEL = "marts_outbound", "outbound_requests"
BARRIERS = ("delete_person", "suppress_person", "unsuppress_person", "merge_people")
ACTIONS = (
    *("create_or_update_person", *BARRIERS),
    *("create_or_update_object", "delete_object", "delete_relationship"),
    *("create_or_update_device", "delete_device"),
    *("track_event", "track_page_view", "track_screen_view"),
    *("report_delivery_event", "report_content_event"),
)
SEND = "send"
# What a request is that is not sent, in the order in which the reasons are looked for, after the models' own.
ACKNOWLEDGED, CHANGED, REFUSED = "acknowledged", "acknowledged_with_other_content", "refused"
TOO_LARGE, BEFORE_START, LATE = "item_too_large", "before_first_run", "late"
SAMPLES = 10


@dataclass(frozen=True)
class Wish:
    """What the user wants sent: actions, each from a time on; `resend`: also what was acknowledged."""

    starts: Mapping[str, datetime]
    resend: bool = False


def starts(
    there: Warehouse, actions: tuple[str, ...], since: datetime | None, now: datetime
) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """From when on each action is sent, and which of that is new: `since`, else its first run."""
    query = (
        f"select action, max_by(starts_at, run_id) from {relation(there, STARTS)} as starts group by action"
    )
    known = {action: start for page in there.pages(query) for action, start in page}
    found = {action: since or known.get(action) or now for action in actions}
    return found, {action: start for action, start in found.items() if known.get(action) != start}


def keep_starts(there: Warehouse, found: Mapping[str, datetime], run_id: str) -> None:
    """Remember from when on each action is sent."""
    insert(there, STARTS, [(action, str(start), run_id) for action, start in found.items()])


def counts(there: Warehouse, wish: Wish) -> list[tuple[str, str, int]]:
    """Requests by action and by what becomes of them."""
    query = (
        f"{_judged(there, wish)} select action, verdict, count(*) from judged group by action, verdict "
        "order by action, verdict"
    )
    return [
        (str(action), str(verdict), int(count))
        for page in there.pages(query)
        for action, verdict, count in page
    ]


def samples(there: Warehouse, wish: Wish) -> list[tuple[str, str]]:
    """Some of what is sent, of as many actions as there are: the action and the item's text."""
    query = (
        f"{_judged(there, wish)}, numbered as (select action, payload, row_number() over (partition by "
        f"action order by request_number) as place from judged where verdict = '{SEND}') "
        f"select action, payload from numbered where place <= {SAMPLES} order by place, action"
    )
    found = [(str(action), str(payload)) for page in there.pages(query) for action, payload in page]
    # not by LIMIT: DuckDB 2.0 loses it in this query
    return found[:SAMPLES]


def planned(there: Warehouse, wish: Wish) -> Iterator[Item]:
    """Yield what is sent, in its order."""
    query = (
        f"{_judged(there, wish)} select request_id, content_hash, action, person_key, object_key, "
        "cast(happened_at as varchar), role, object_role, endpoint, payload "
        f"from judged where verdict = '{SEND}' order by request_number"
    )
    for page in there.pages(query):
        for *record, role, object_role, endpoint, payload in page:
            keys = ((record[3], role), (record[4], object_role))
            named = tuple((str(key), int(does)) for key, does in keys if key)
            yield Item(0, tuple(record), named, endpoint, payload)


def _object_role(action: str) -> str:
    """What a request does to its object: a person's relationship to it does not depend on other people's."""
    return (
        f"case {action} when 'create_or_update_person' then {EVENT} when 'delete_relationship' then {EVENT} "
        f"when 'delete_object' then {BARRIER} else {CHANGE} end"
    )


def _judged(there: Warehouse, wish: Wish) -> str:
    """CTEs that end in `judged`: each wanted request, with its verdict."""
    requests = f"{there.schema(LAYER)}.{MODEL}"
    if not there.columns(requests):
        raise UserError(
            f"the warehouse lacks {requests}: run `dbt build`, which makes it, and check that the role may "
            "read it"
        )
    start = " ".join(
        f"when '{action}' then cast('{at}' as {there.timestamp})" for action, at in wish.starts.items()
    )
    wanted = ", ".join(f"'{action}'" for action in wish.starts)
    is_sent_again = (
        f"requests.action in ({wanted}) and requests.held_back_reason is null "
        f"and requests.happened_at >= requests.starts_at"
        if wish.resend
        else "1 = 0"
    )
    unless_again = "1 = 0 and " if wish.resend else ""
    ledger = relation(there, REQUESTS)
    return f"""
with requests as (
    select
        request_id, content_hash, action, person_key, happened_at, request_number, endpoint, payload,
        held_back_reason, {_object_key(there)} as object_key,
        case
            when is_event then {EVENT}
            when action in ({", ".join(f"'{action}'" for action in BARRIERS)}) then {BARRIER}
            else {CHANGE}
        end as role,
        {_object_role("action")} as object_role,
        case action {start} end as starts_at
    from {requests}
),
answered as (
    select
        ledger.request_id,
        max(ledger.happened_at) as happened_at,
        max(ledger.person_key) as person_key,
        max(ledger.object_key) as object_key,
        max(ledger.action) as action,
        max(case when ledger.status = 'acknowledged' then 1 else 0 end) as is_acknowledged,
        max(case when ledger.status = 'acknowledged' and ledger.content_hash = requests.content_hash
            then 1 else 0 end) as is_same,
        max(case when ledger.status = 'refused' and ledger.content_hash = requests.content_hash
            then 1 else 0 end) as is_refused
    from {ledger} as ledger
    left join requests on ledger.request_id = requests.request_id
    group by ledger.request_id
),
done as (
    select
        coalesce(requests.person_key, answered.person_key) as person_key,
        coalesce(requests.object_key, answered.object_key) as object_key,
        answered.happened_at,
        requests.request_number,
        case
            when answered.action in ('track_event', 'track_page_view', 'track_screen_view',
                'report_content_event') then {EVENT}
            when answered.action in ({", ".join(f"'{action}'" for action in BARRIERS)}) then {BARRIER}
            else {CHANGE}
        end as role,
        {_object_role("answered.action")} as object_role
    from answered
    left join requests on answered.request_id = requests.request_id
    where answered.is_acknowledged = 1 and (requests.request_id is null or not ({is_sent_again}))
),
done_keys as (
    select person_key as item_key, happened_at, request_number, role from done where person_key is not null
    union all
    select object_key as item_key, happened_at, request_number, object_role as role
    from done where object_key is not null
),
last_done as (
    select
        item_key,
        max(happened_at) as any_at, max(request_number) as any_number,
        max(case when role <> {EVENT} then happened_at end) as change_at,
        max(case when role <> {EVENT} then request_number end) as change_number,
        max(case when role = {BARRIER} then happened_at end) as barrier_at,
        max(case when role = {BARRIER} then request_number end) as barrier_number
    from done_keys group by item_key
),
judged as (
    select
        requests.*,
        case
            when requests.held_back_reason is not null then requests.held_back_reason
            when {unless_again}answered.is_same = 1 then '{ACKNOWLEDGED}'
            when {unless_again}answered.is_acknowledged = 1 then '{CHANGED}'
            when {unless_again}answered.is_refused = 1 then '{REFUSED}'
            when {_bytes(there)} > {MOST_ITEM_BYTES} then '{TOO_LARGE}'
            when requests.happened_at < requests.starts_at then '{BEFORE_START}'
            when {_overtaken("role", "of_person")} or {_overtaken("object_role", "of_object")} then '{LATE}'
            else '{SEND}'
        end as verdict
    from requests
    left join answered on requests.request_id = answered.request_id
    left join last_done as of_person on requests.person_key = of_person.item_key
    left join last_done as of_object on requests.object_key = of_object.item_key
    where requests.action in ({wanted})
)"""


def _overtaken(column: str, done: str) -> str:
    """Whether something later was acknowledged that this request would undo, or that would undo it."""
    cases = ((EVENT, "barrier"), (CHANGE, "change"), (BARRIER, "any"))
    return (
        f"case requests.{column} "
        + " ".join(
            f"when {role} then coalesce(requests.request_number < {done}.{what}_number, false) "
            f"or coalesce(requests.happened_at < {done}.{what}_at, false)"
            for role, what in cases
        )
        + " end"
    )


def _bytes(there: Warehouse) -> str:
    """The bytes of a payload in UTF-8."""
    if there.engine == "duckdb":
        return "strlen(requests.payload)"
    # a BINARY, as TO_BINARY makes it, has a length that a text may exceed
    return "bit_length(requests.payload) / 8"


def _object_key(there: Warehouse) -> str:
    """The object that a request changes: requests of two people about one object need an order too."""

    def member(path: str) -> str:
        if there.engine == "duckdb":
            return f"json_extract_string(payload, '$.{path}')"
        return f"parse_json(payload):{path.replace('.', ':')}::varchar"

    def key(place: str) -> str:
        parts = (member(f"{place}identifiers.{name}") for name in ("object_type_id", "object_id"))
        return "'object:' || " + " || ':' || ".join(parts)

    either = f"coalesce({key('')}, {key('cio_relationships[0].')})"
    return f"case when payload like '%\"object_id\"%' then {either} end"
