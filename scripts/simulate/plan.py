"""The plan of a simulation, in DuckDB: which people JustAI is called for, the copy, and each message's fate.

All randomness is `draw(key, name)`: a hash of the seed, a name and a row's own number, so a plan depends
neither on threads nor on how the work is cut into chunks. Numbers: story (one journey) s; deliveries, calls
and messages s*16+slot; events message*64+ordinal. A story is in one chunk with everything that belongs to it.
"""

from dataclasses import dataclass

import duckdb

from scripts.simulate.events import MESSAGE_PLAN, OUTCOME, event_plan

SLOTS = 65_536
# Crockford's base 32 (no I, L, O, U), two digits at a time.
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAIRS = "".join(a + b for a in DIGITS for b in DIGITS)


@dataclass(frozen=True)
class Plan:
    """What to simulate: `calls` distinct calls over `days` days from unix second `start`.

    `sync`: also as Customer.io's warehouse sync. `drift`: how many times the first day's base rate of opens,
    clicks and conversions that of the last day is; `person_effect`: how far, at most, persons' rates lie from
    it. Conversions count from `conversion_offset` days after a message's first event to
    `conversion_lookback` days after it, where that is set.
    """

    calls: int
    days: int
    seed: int
    start: int
    sync: bool = False
    drift: float = 1.0
    person_effect: float = 0.0
    conversion_offset: int = 0
    conversion_lookback: int | None = None


def macros(con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Randomness, and the forms of the vendors' ids."""
    seed = int(plan.seed)
    lookback = (
        "" if plan.conversion_lookback is None else f" or after > {int(plan.conversion_lookback) * 86_400}"
    )
    # The xor is hashed again: xor alone would only shift one hash by the other.
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
        -- What is clicked: a link as it is counted, and as it is sent; some clicks name none.
        create macro link_path(k) as case when draw(k, 'no link') >= 0.01
            then 'https://www.example.com/' || ['plan', 'offer', 'offer/terms'][draw_int(k, 'link', 1, 3)]
            end;
        create macro link_href(k, user_no) as link_path(k) || case draw_int(k, 'link form', 0, 4)
            when 0 then '?utm_source=mail&u=' || user_no when 1 then '#top' when 2 then '#top?u=' || user_no
            when 3 then '?u=' || user_no || '#top' else '' end;
        -- The value of a conversion; some have none.
        create macro value_of(k) as case when draw(k, 'value') < 0.7
            then (draw_int(k, 'amount', -500, 20000) / 100.0)::decimal(18, 2) end;
        -- The payload of a click in mail as int_repeated_events orders it, a null for each field it lacks.
        create macro click_payload(
            id_no, instant, delivery, journey, action, parent, campaign, user_no, machine) as
            md5(concat_ws(',',
                field(instant), '"email"', '"clicked"', field(delivery), field(journey), field(action),
                field(parent), field(campaign), 'null,null,null,null,null,null', field('u-' || user_no),
                field(user_no || '@example.com'), field('c' || user_no), 'null',
                field(user_no || '@example.com'), 'null', '"Edition"', 'null,null,null',
                field(link_href(id_no, user_no)), '"3"', 'null,null,null,null,null,null',
                field(machine), 'null'));
        create macro plan_start() as {plan.start}::bigint;
        create macro plan_days() as {plan.days}::bigint;
        -- Whether a conversion is outside its own window: seconds after the message's first event.
        create macro is_outside_conversion_window(after) as
            after < {int(plan.conversion_offset) * 86_400}{lookback};
        create macro day_of(instant) as (date '1970-01-01' + (instant // 86400)::integer);
        -- How many times the base rate of the first day, and of all people, a day's and a person's is.
        create macro day_factor(day) as pow({float(plan.drift)}::double, least(greatest(
            (day - day_of(plan_start())) / greatest(plan_days() - 1, 1)::double, 0), 1));
        create macro person_factor(user_no) as
            1 + {float(plan.person_effect)}::double * (2 * draw(user_no, 'person effect') - 1);
        create macro at_utc(instant) as make_timestamp((instant * 1000000)::bigint);
    """)


def count_stories(con: duckdb.DuckDBPyConnection, calls: int) -> tuple[int, int]:
    """Return (stories drawn freely, all stories); the rest are plain and make the number of calls exact."""
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
            -- few calls at night: minutes of the day cluster in the afternoon
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
