"""The plan of a simulation, in DuckDB: who is called for, with what, and what becomes of each message.

All chance is `draw(key, name)`: a hash of the seed, a name and a row's own number, so a plan depends neither
on threads nor on how the work is cut into chunks. Numbers: story (one journey) s; deliveries, calls and
messages s*16+slot; events message*64+ordinal. A story lies in one chunk with all that belongs to it.
"""

from dataclasses import asdict, dataclass

import duckdb
import pyarrow as pa

from scripts.simulate import world

SLOTS = 65_536
# Crockford's base 32 (no I, L, O, U), two digits at a time.
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAIRS = "".join(a + b for a in DIGITS for b in DIGITS)


@dataclass(frozen=True)
class Plan:
    """What to simulate: `calls` distinct calls over `days` days from unix second `start`."""

    calls: int
    days: int
    seed: int
    start: int


def load(con: duckdb.DuckDBPyConnection, name: str, rows: list[dict[str, object]]) -> None:
    """Make a table of `rows` (all with the same keys)."""
    con.register("loading", pa.Table.from_pylist(rows))
    con.execute(f"create table {name} as select * from loading")
    con.unregister("loading")


def macros(con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Chance, and the shapes of the vendors' ids."""
    seed = int(plan.seed)
    # Hashing the xor again matters: two hashes combined by xor alone would be the same number, shifted.
    con.execute(f"""
        create macro draw(k, name) as
            (hash(xor(hash(k::bigint), hash('{seed}/' || name))) >> 11)::double / 9007199254740992.0;
        create macro draw_int(k, name, lo, hi) as lo + floor(draw(k, name) * (hi - lo + 1))::bigint;
        create macro expo(k, name, mean) as (-ln(1 - draw(k, name)) * mean)::bigint;
        create macro pair(n) as substr('{PAIRS}', ((n) & 1023)::bigint * 2 + 1, 2);
        create macro ulid(ms, h) as
            pair(ms >> 40) || pair(ms >> 30) || pair(ms >> 20) || pair(ms >> 10) || pair(ms)
            || pair(h) || pair(h >> 10) || pair(h >> 20) || pair(h >> 30)
            || pair(h >> 40) || pair(h >> 50) || pair(hash(h)) || pair(hash(h) >> 10);
        create macro any_hash(k, name) as
            (hash(xor(hash(k::bigint), hash('{seed}/' || name))) >> 1)::bigint;
        create macro cio_delivery_id(k) as
            to_base64(encode(to_base(any_hash(k, 'delivery id'), 36, 13)));
        create macro field(v) as
            coalesce('"' || replace(replace(v::varchar, '\\', '\\\\'), '"', '\\"') || '"', 'null');
        -- The payload of a click in mail as int_distinct_events orders it, a null for each field it lacks.
        create macro click_payload(instant, delivery, journey, action, parent, campaign, user_no, machine) as
            md5(concat_ws(',',
                field(instant), '"email"', '"clicked"', field(delivery), field(journey), field(action),
                field(parent), field(campaign), 'null,null,null,null,null,null', field('u-' || user_no),
                field(user_no || '@example.com'), field('c' || user_no), 'null',
                field(user_no || '@example.com'), 'null', '"Edition"', 'null,null,null',
                '"https://www.example.com/plan"', '"3"', 'null,null,null,null,null,null', field(machine)));
        create macro plan_start() as {plan.start}::bigint;
        create macro plan_days() as {plan.days}::bigint;
        create macro day_of(instant) as (date '1970-01-01' + (instant // 86400)::integer);
        create macro at_utc(instant) as make_timestamp((instant * 1000000)::bigint);
    """)


def load_world(con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Tables of templates, copies, versions, maps and scenarios."""
    numbers = {template.name: number for number, template in enumerate(world.TEMPLATES)}
    copies = world.copies()
    load(con, "template", [asdict(t) | {"template_no": n} for n, t in enumerate(world.TEMPLATES)])
    load(
        con,
        "copy",
        [
            {
                "copy_no": n,
                "template_no": numbers[c.template],
                "arm": c.arm,
                "copy_id": c.copy_id,
                "effect": c.effect,
            }
            for n, c in enumerate(copies)
        ],
    )
    edits = {
        (copy, version): (number, instant)
        for number, (copy, version, instant) in enumerate(world.edits(plan.days, plan.start))
    }
    versions: list[dict[str, object]] = []
    texts: list[dict[str, object]] = []
    for number, copy in enumerate(copies):
        for k, (_, text) in enumerate(copy.versions):
            versions.append(
                {
                    "version_no": len(versions),
                    "copy_no": number,
                    "k": k,
                    "template_id": text.template_id,
                    "content_hash": text.content_hash,
                    "canonical": text.canonical,
                    "from_at": edits[number, k][1] if k else -(2**60),
                    "to_at": edits[number, k + 1][1] if (number, k + 1) in edits else 2**60,
                }
            )
            texts += [
                {"version_no": len(versions) - 1, "rendering": n, "text": t}
                for n, t in enumerate(text.renderings)
            ]
    load(con, "version", versions)
    load(con, "version_text", texts)
    per_template: dict[int, int] = {}
    edit_rows: list[dict[str, object]] = []
    for (number, k), (_, instant) in edits.items():
        template_no = numbers[copies[number].template]
        place = per_template.setdefault(template_no, 0)
        per_template[template_no] += 1
        edit_rows.append(
            {"template_no": template_no, "place": place, "copy_no": number, "k": k, "instant": instant}
        )
    load(con, "edit", edit_rows)
    load(
        con,
        "person",
        [
            {"person_no": n, "canonical": world.canonical(p), "rendering": k, "text": text}
            for n, p in enumerate(world.PEOPLE)
            for k, text in enumerate(world.renderings("attrs", p))
        ],
    )
    load(
        con,
        "bandit",
        [
            {"template_no": n, "day": day, "shares": world.bandit(day / max(plan.days - 1, 1), t)}
            for n, t in enumerate(world.TEMPLATES)
            for day in range(plan.days)
        ],
    )
    load_scenarios(con, numbers)


def load_scenarios(con: duckdb.DuckDBPyConnection, numbers: dict[str, int]) -> None:
    """Tables of the scenarios, and `scenario_slot`, which spreads their shares over 65,536 places."""
    scenarios = world.scenarios()
    load(
        con,
        "scenario",
        [
            {
                "scenario_no": n,
                "name": s.name,
                "snap": s.snap,
                "journey_form": s.journey_id,
                "calls": len(s.calls),
                "template_no": numbers[s.deliveries[0].template] if s.deliveries else None,
            }
            for n, s in enumerate(scenarios)
        ],
    )
    ends = [round(share * SLOTS) for share in world.shares(scenarios)]
    begins = [0, *ends[:-1]]
    load(
        con,
        "scenario_slot",
        [
            {"slot": slot, "scenario_no": n}
            for n, (a, b) in enumerate(zip(begins, ends, strict=True))
            for slot in range(a, b)
        ],
    )
    load(
        con,
        "scenario_delivery",
        [
            {
                "scenario_no": n,
                "slot": k,
                "template_no": numbers[d.template],
                "action": d.action,
                "has_journey": d.journey,
                "campaign": world.TEMPLATE[d.template].campaign if d.journey or d.action else None,
            }
            for n, s in enumerate(scenarios)
            for k, d in enumerate(s.deliveries)
        ],
    )
    load(
        con,
        "scenario_call",
        [
            asdict(c)
            | {
                "scenario_no": n,
                "slot": k,
                "template_no": numbers[c.template or s.deliveries[c.delivery].template],
                "copy": str(c.copy),
                "arm": c.copy if isinstance(c.copy, int) else None,
            }
            for n, s in enumerate(scenarios)
            for k, c in enumerate(s.calls)
        ],
    )
    load(
        con,
        "scenario_message",
        [
            asdict(m) | {"scenario_no": n, "slot": k}
            for n, s in enumerate(scenarios)
            for k, m in enumerate(s.messages)
        ],
    )


def count_stories(con: duckdb.DuckDBPyConnection, calls: int) -> tuple[int, int]:
    """Return (stories drawn freely, stories in all); the rest are plain and make the calls exact."""
    row = con.execute(f"""
        with story as (
            select i, s.calls, sum(s.calls) over (order by i rows unbounded preceding) as so_far
            from range({calls + 1000}) t(i)
            join scenario_slot l on l.slot = floor({spread("i")} * {SLOTS})::bigint
            join scenario s using (scenario_no)
        )
        select coalesce(max(i) + 1, 0), coalesce(max(so_far), 0) from story where so_far <= {calls}
    """).fetchone()
    assert row is not None
    free, made = int(row[0]), int(row[1])
    return free, free + calls - made


def spread(number: str) -> str:
    """SQL of a story's place in [0, 1): multiples of the golden ratio visit rare scenarios evenly."""
    return f"((({number}) * 0.6180339887498949 + draw(0, 'spread')) % 1)"


def plan_chunk(con: duckdb.DuckDBPyConnection, first: int, last: int, free: int, total: int) -> None:
    """Plan stories [first, last): temporary tables story and call_, delivery_, message_ and event_plan."""
    for table in ("story", "call_plan", "delivery_plan", "message_plan", "outcome", "event_plan"):
        con.execute(f"drop table if exists {table}")
    con.execute(STORY.format(first=first, last=last, free=free, total=total, slot=spread("i"), slots=SLOTS))
    con.execute(CALL_PLAN)
    con.execute(DELIVERY_PLAN)
    con.execute(MESSAGE_PLAN)
    con.execute(OUTCOME)
    con.execute(event_plan())


STORY = r"""
create temp table story as
with drawn as (
    select i as story_no, l.scenario_no, s.snap, s.journey_form, s.template_no,
        plan_start() + least(
            floor(plan_days() * 86400 * (i + draw(i, 'start')) / {total})::bigint, plan_days() * 86400 - 1
        ) as even_at
    from range({first}, {last}) t(i)
    join scenario_slot l on l.slot = case
        when i < {free} then floor({slot} * {slots})::bigint
        -- the plain scenarios of the templates come first
        else floor(draw(i, 'filling') * 1000)::bigint end
    join scenario s using (scenario_no)
),
placed as (
    select d.*, e.copy_no as edit_copy_no, e.k as edit_k,
        case d.snap
            when 'day_end' then even_at // 86400 * 86400 + 86380
            when 'edit' then e.instant
            -- few calls by night: minutes of the day are drawn to the afternoon
            else even_at // 86400 * 86400
                + floor(86400 * (x - 0.13 * sin(6.283185307 * x)))::bigint
        end as base_at
    from (select *, (even_at % 86400) / 86400.0::double as x from drawn) d
    left join (select *, count(*) over (partition by template_no) as edits from edit) e
        on d.snap = 'edit' and e.template_no = d.template_no
        and e.place = (d.story_no // 7) % e.edits
)
select story_no, scenario_no, base_at, edit_copy_no, edit_k,
    draw_int(story_no, 'user', 0, greatest({total} // 3, 20)) as user_no,
    case journey_form when 'number' then (900000000 + story_no)::varchar
        when 'odd' then 'flow "a,' || story_no || '" \ 1'
        else ulid(base_at * 1000 - draw_int(story_no, 'journey age', 0, 90000), any_hash(story_no, 'journey'))
    end as journey
from placed
"""

CALL_PLAN = """
create temp table call_plan as
with slotted as (
    select s.story_no * 16 + c.slot as call_no, s.story_no * 16 + c.delivery as delivery_no, s.*,
        s.base_at + draw_int(s.story_no * 16 + c.slot, 'call at', c.lo, c.hi) as instant,
        d.action, d.has_journey, d.campaign as own_campaign, c.template_no, c.copy as copy_rule,
        c.arm as fixed_arm, c.final, c.tie, c.attrs, c.user as with_user, c.campaign as with_campaign,
        c.version as version_rule, t.arms, b.shares,
        -- ids may be missing where that does not make two calls one
        not c.tie and d.has_journey and d.action is not null as may_lack
    from story s
    join scenario_call c using (scenario_no)
    join scenario_delivery d on d.scenario_no = s.scenario_no and d.slot = c.delivery
    join template t on t.template_no = c.template_no
    join bandit b on b.template_no = c.template_no
        and b.day = greatest(0, least((s.base_at - plan_start()) // 86400, plan_days() - 1))
),
picked as (
    select *, least(len(list_filter(shares, lambda x: x <= draw(delivery_no, 'arm'))), arms - 1) as pick
    from slotted
),
armed as (
    select *, case
        when fixed_arm is not null then fixed_arm
        when copy_rule = 'other' then (pick + draw_int(delivery_no, 'other arm', 1, arms - 1)) % arms
        else pick end as arm
    from picked
),
copied as (
    select a.*, coalesce(a.edit_copy_no, c.copy_no) as copy_no
    from armed a join copy c on c.template_no = a.template_no and c.arm = a.arm
)
select c.call_no, c.delivery_no, c.story_no, c.scenario_no, c.instant, c.copy_no, v.version_no, v.template_id,
    v.content_hash, y.copy_id, c.action, case when c.has_journey then c.journey end as journey,
    case when c.with_campaign and not (c.may_lack and draw(c.call_no, 'no campaign') < 0.004)
        then c.own_campaign end as campaign,
    case when c.with_user and not (c.may_lack and draw(c.call_no, 'no user') < 0.01)
        then case when draw(c.user_no, 'user form') < 0.1 then lpad(c.user_no::varchar, 9, '0')
            else 'u-' || c.user_no end
            -- so that two calls without journey or action are never one by chance
            || case when c.has_journey and c.action is not null then '' else '-' || c.call_no end
        end as user_id,
    (draw_int(c.user_no, 'person', 0, 12)
        + case when c.attrs = 'other' then draw_int(c.call_no, 'other person', 1, 12) else 0 end
    ) % 13 as person_no,
    c.final, c.tie, c.version_rule = 'before' as forced, v.from_at
from copied c
join copy y on y.copy_no = c.copy_no
join version v on v.copy_no = c.copy_no and case
    when c.version_rule = 'before' then v.k = c.edit_k - 1
    else c.instant >= v.from_at and c.instant < v.to_at end
"""

DELIVERY_PLAN = """
create temp table delivery_plan as
with person_map as (select person_no, canonical as attrs from person where rendering = 0),
-- The scenario names the call that counts; where it names several, of one second, the rules' order decides.
winner as (
    select c.*, p.attrs
    from call_plan c join person_map p using (person_no)
    where c.final
    qualify row_number() over (
        partition by delivery_no
        order by c.content_hash desc, c.copy_id desc, p.attrs desc, c.user_id desc nulls last,
            c.campaign desc nulls last) = 1
),
span as (
    select delivery_no, min(instant) as first_at, max(instant) as last_at, count(*) as calls,
        count(distinct copy_no) > 1 as conflict
    from call_plan group by delivery_no
)
select w.delivery_no, w.story_no, w.journey, w.action, w.campaign, w.template_id, w.copy_no, w.copy_id,
    w.content_hash, w.user_id, w.attrs, s.first_at, s.last_at, s.calls, s.conflict, y.effect,
    md5(case when w.journey is not null and w.action is not null
        then concat_ws(',', field(w.journey), field(w.action))
        else concat_ws(',', field(w.instant), field(w.user_id), field(w.campaign), field(w.action),
            field(w.journey), field(w.copy_id), field(w.template_id), field(v.canonical), field(w.attrs))
        end) as delivery_key
from winner w
join span s using (delivery_no)
join copy y using (copy_no)
join version v using (version_no)
"""

MESSAGE_PLAN = """
create temp table message_plan as
with slotted as (
    select s.story_no * 16 + m.slot as message_no, s.story_no, s.base_at, s.user_no,
        case when m.journey then s.journey end as journey,
        s.base_at + draw_int(s.story_no * 16 + m.slot, 'first event', m.lo, m.hi) as first_at,
        m.action, m.parent, m.campaign, m.channel, m.kind, m.method, m.reason, m.control, m.sure, m.edge,
        m.variant, m.later_action, s.story_no * 16 + m.owner as owner_no,
        s.story_no * 16 + m.alternative as alternative_no
    from story s join scenario_message m using (scenario_no)
    where draw(s.story_no * 16 + m.slot, 'message') < m.chance
)
select s.*,
    case when b.delivery_key < a.delivery_key then b.delivery_no else a.delivery_no end as delivery_no,
    case when b.delivery_key < a.delivery_key then b.delivery_key else a.delivery_key end as delivery_key,
    case when b.delivery_key < a.delivery_key then b.copy_no else a.copy_no end as copy_no,
    case when b.delivery_key < a.delivery_key then b.copy_id else a.copy_id end as copy_id,
    coalesce(case when b.delivery_key < a.delivery_key then b.effect else a.effect end, 0.8) as effect
from slotted s
left join delivery_plan a on a.delivery_no = s.owner_no
left join delivery_plan b on b.delivery_no = s.alternative_no
"""

# Offsets are seconds after the message's first event; null: it does not happen.
OUTCOME = """
create temp table outcome as
with began as (
    select *, case when sure or edge then 0.5 else draw(message_no, 'start') end as r,
        channel in ('email', 'push', 'sms', 'whatsapp') as confirms,
        channel = 'email' as mail
    from message_plan
),
sent as (
    select *, case
            when r < 0.955 then 'sent' when r < 0.965 then 'attempted' when r < 0.97 then 'drafted'
            when r < 0.975 then 'deferred' when r < 0.98 then 'failed' when r < 0.984 then 'undeliverable'
            when r < 0.987 then 'dropped' when r < 0.99 then 'suppressed' else 'sent' end as start_metric,
        case when r < 0.955 or r >= 0.99 then 0
            when r < 0.975 then draw_int(message_no, 'sent', 60, 9000) end as sent
    from began
),
arrived as (
    select *,
        case when confirms and fate < 0.015 then sent + draw_int(message_no, 'bounced', 5, 90) end as bounced,
        case when confirms and fate between 0.015 and 0.985
            then sent + draw_int(message_no, 'delivered', 0, 20) end as delivered
    from (select *, case when sure or edge then 0.5 else draw(message_no, 'fate') end as fate from sent)
),
seen as (
    select *, case when confirms then delivered else sent end as reached from arrived
),
opened as (
    select *,
        case when mail and draw(message_no, 'prefetch') < 0.24
            then reached + draw_int(message_no, 'prefetched', 1, 40) end as prefetched,
        case when draw(message_no, 'open') < effect * case channel
                when 'email' then 0.29 when 'push' then 0.07 when 'whatsapp' then 0.5
                when 'in_app' then 0.4 when 'slack' then 0.01 else 0 end
            then reached + 20 + least(expo(message_no, 'opened', 9000), 1700000) end as opened,
        case when mail and draw(message_no, 'robot') < 0.03
            then reached + draw_int(message_no, 'robot click', 3, 50) end as robot_click,
        case when mail and draw(message_no, 'blind') < 0.006
            then reached + 60 + least(expo(message_no, 'blind click', 20000), 900000) end as blind_click,
        case when mail and not edge and draw(message_no, 'stray') < 0.001
            then reached + 500 end as stray_synthetic,
        case when mail and draw(message_no, 'forward') < 0.003 then reached + 4000 end as forwarded,
        case when mail and draw(message_no, 'unsubscribe') < 0.004
            then reached + 30 + expo(message_no, 'unsubscribed', 30000) end as unsubscribed,
        case when mail and draw(message_no, 'spam') < 0.001
            then reached + 30 + expo(message_no, 'spammed', 9000) end as spammed,
        case when channel in ('sms', 'whatsapp') and draw(message_no, 'reply') < 0.02
            then reached + 30 + expo(message_no, 'replied', 7000) end as replied
    from seen
),
clicked as (
    select *,
        case when draw(message_no, 'open again') < 0.25
            then opened + 3600 + expo(message_no, 'opened again', 90000) end as opened_again,
        case when opened is not null and draw(message_no, 'click') < 0.13 * effect
                or channel in ('sms', 'slack') and draw(message_no, 'click') < 0.05 * effect
            then coalesce(opened, reached) + 3 + expo(message_no, 'clicked', 700) end as clicked,
        case when not edge and draw(message_no, 'robot open') < 0.6 then robot_click end as robot_open
    from opened
),
human as (
    select *, clicked is not null or blind_click is not null or edge as human_click,
        case when draw(message_no, 'click again') < 0.2
            then clicked + 5 + expo(message_no, 'clicked again', 40000) end as clicked_again
    from clicked
)
select *,
    case when reached is not null and draw(message_no, 'convert')
            < effect * effect * case when coalesce(clicked, blind_click) is null then 0.009 else 0.14 end
        then reached + 300 + least(expo(message_no, 'converted', 260000), 5200000) end as converted,
    case when reached is not null and draw(message_no, 'late') < 0.0006
        then 7776001 + draw_int(message_no, 'late conversion', 0, 900000) end as converted_late,
    case when variant = 'none' or coalesce(delivered, bounced) is null then 'none'
        when variant <> 'any' then variant
        when delivery_no is null then 'none'
        when draw(message_no, 'variant') < 0.006 then 'strip_first'
        when draw(message_no, 'variant') < 0.016 then 'strip_later'
        when draw(message_no, 'variant') < 0.020 and campaign is not null then 'campaign_first'
        when draw(message_no, 'variant') < 0.020 then 'none'
        when draw(message_no, 'variant') < 0.022 then 'wrong_action_first'
        else 'none' end as lacks
from human
"""

# ordinal, metric, seconds after the first event, how its flags are spelled, whether a machine did it
HAPPENINGS: tuple[tuple[int, str, str, str, str], ...] = (
    (0, "", "0", "open", "false"),
    (1, "sent", "case when start_metric <> 'sent' then sent end", "", "false"),
    (2, "delivered", "delivered", "", "false"),
    (3, "bounced", "bounced", "", "false"),
    (4, "opened", "prefetched", "prefetched", "true"),
    (5, "opened", "opened", "human", "false"),
    (6, "opened", "opened_again", "human", "false"),
    (7, "clicked", "robot_click", "robot", "true"),
    (8, "opened", "robot_open", "synthetic", "not human_click"),
    (9, "clicked", "blind_click", "person", "false"),
    (10, "opened", "blind_click", "synthetic", "false"),
    (11, "clicked", "clicked", "person", "false"),
    (12, "clicked", "clicked_again", "person", "false"),
    (13, "opened", "stray_synthetic", "synthetic", "not human_click"),
    (14, "converted", "converted", "", "false"),
    (15, "converted", "case when draw(message_no, 'again') < 0.1 then converted + 90000 end", "", "false"),
    (16, "converted", "converted_late", "", "false"),
    (17, "unsubscribed", "unsubscribed", "", "false"),
    (18, "spammed", "spammed", "", "false"),
    (19, "replied", "replied", "", "false"),
    (20, "forwarded", "forwarded", "", "false"),
    (21, "converted", "case when edge then 7776000 end", "", "false"),
    (22, "clicked", "case when edge then 7776001 end", "person", "false"),
    (23, "opened", "case when edge then 7862400 end", "human", "false"),
)
# One event id seen again on the next day is a second event.
SECOND_DAY = 32


def event_plan() -> str:
    """SQL of event_plan: one row per event of a message, with all that the fact table must say of it."""
    parts = []
    for ordinal, metric, offset, flags, machine in HAPPENINGS:
        name = f"'{metric}'" if metric else "start_metric"
        parts.append(
            f"select *, {ordinal} as ordinal, {name} as metric, ({offset})::bigint as after, "
            f"'{flags}' as flags, {machine} as is_machine from outcome where ({offset}) is not null"
        )
    happened = " union all ".join(parts)
    unknown = ", ".join(f"'{metric}'" for metric in world.UNKNOWN_METRICS)
    in_catalogue = ", ".join(f"'{metric}'" for metric in world.KNOWN_BUT_NOT_COUNTED)
    return f"""
create temp table event_plan as
with happened as ({happened}),
numbered as (
    select *, message_no * 64 + ordinal as event_no, event_no as id_no, first_at + after as instant,
        instant * 1000 + ordinal as id_ms
    from happened
),
again as (
    select * from numbered
    union all
    select * replace (
        event_no + {SECOND_DAY} as event_no, instant + 86400 as instant, after + 86400 as after)
    from numbered where ordinal in (5, 14) and draw(event_no, 'second day') < 0.006
),
lacking as (
    select * replace (
            case when not bare then journey end as journey,
            case when bare then null when odd = 'wrong_action_first' then 990001
                when ordinal > 0 then coalesce(later_action, action) else action end as action,
            case when not bare and odd <> 'wrong_action_first' then parent end as parent,
            case when bare or odd = 'campaign_first' then null
                when odd = 'wrong_campaign_first' then 902 else campaign end as campaign),
        ordinal = 11 and channel = 'email' and kind = 'campaign' and lacks = 'none'
            and coalesce(robot_open, stray_synthetic, blind_click) is null and draw(event_no, 'rival') < 0.08
            as rival
    from (
        select *, case when ordinal = 0 then lacks else '' end as odd,
            odd = 'strip_first' or lacks = 'strip_later' and ordinal >= 2 as bare
        from again
    )
),
-- Told twice of one second, as a machine's and as a person's: the greater hash of the payload is right.
judged as (
    select * replace (case when rival
        then click_payload(instant, delivery_id, journey, action, parent, campaign, user_no, true)
            > click_payload(instant, delivery_id, journey, action, parent, campaign, user_no, false)
        else is_machine end as is_machine)
    from (select *, case when rival then cio_delivery_id(message_no) end as delivery_id from lacking)
)
select event_no, id_no, id_ms, message_no, story_no, ordinal, channel, kind, metric, instant, first_at,
    user_no, delivery_no, delivery_key, copy_no, copy_id, control, lacks, journey, action, parent, campaign,
    is_machine, case when not rival then flags when is_machine then 'accused' else 'denied' end as flags,
    kind <> 'legacy' as about_message,
    case when control is not null then 'control'
        when delivery_no is null then null
        when bare or odd in ('wrong_action_first', 'wrong_campaign_first')
            or (lacks = 'campaign_first' or later_action is not null) and ordinal > 0 then 'delivery_id'
        else method end as method,
    reason,
    case when metric = 'suppressed' then 'dropped'
        when metric not in ({in_catalogue}, {unknown}) then metric end as counts_as,
    case when delivery_no is null and control is null then 'unmatched'
        when after > 7776000 then 'outside_window'
        when metric in ({unknown}) then 'unknown_metric'
        when metric in ({in_catalogue}) then 'not_counted' end as uncounted
from judged
"""
