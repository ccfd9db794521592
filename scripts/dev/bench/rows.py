"""The rows of the benchmark's input, in SQL: each value is a function of a row's number."""

CALLS_PER_DAY = 100_000
TEMPLATES = 20
COPIES = 100
# 2025-01-01, in days and seconds since 1970
FIRST_DAY = 20_089

DIMENSIONS = f"""
create temp macro dice
    (a) as cast(hash(a) >> 1 as bigint),
    (a, b) as cast(hash(a, b) >> 1 as bigint),
    (a, b, c) as cast(hash(a, b, c) >> 1 as bigint),
    (a, b, c, d) as cast(hash(a, b, c, d) >> 1 as bigint);

-- per copy a row of contents, in two orders of keys
create temp table contents as
with texts as (
    select
        copy_no,
        content_no,
        'Offer ' || copy_no || '.' || content_no || ' for you' as subject,
        'Only today, ' || copy_no || ' of {COPIES}' as preheader,
        array_to_string(
            list_transform(
                range(15 + dice(copy_no, content_no, 'length') % 25),
                lambda place: [
                    'today', 'your plan', 'saves', 'in one click', 'for less', 'with friends', 'we think',
                    'you will like', 'the new', 'offer', 'ends on Sunday', 'free of charge', 'see how',
                    'it works', 'made for you', 'naturally'
                ][dice(copy_no, content_no, place) % 16 + 1]
            ),
            ' '
        ) as body
    from range({COPIES}) as copies (copy_no), range(60) as content (content_no)
)
select
    copy_no,
    content_no,
    is_reordered,
    subject,
    cast(case
        when is_reordered
            then '{{"body":"' || body || '","subject":"' || subject || '","preheader":"' || preheader || '"}}'
        else '{{"subject":"' || subject || '","preheader":"' || preheader || '","body":"' || body || '"}}'
    end as json) as vars
from texts, (values (false), (true)) as orders (is_reordered);

create temp table attributes as
select
    attrs_no,
    cast(case
        when attrs_no % 2 = 0
            then '{{"plan":"' || plan || '","country":"' || country || '","visits":"' || visits || '"}}'
        else '{{"country":"' || country || '","visits":"' || visits || '","plan":"' || plan || '"}}'
    end as json) as attrs
from (
    select
        attrs_no,
        attrs_no // 80 as visits,
        ['free', 'basic', 'pro', 'team'][attrs_no // 2 % 4 + 1] as plan,
        ['DE', 'FR', 'US', 'GB', 'ES', 'IT', 'NL', 'SE', 'PL', 'BR'][attrs_no // 8 % 10 + 1] as country
    from range(2000) as numbers (attrs_no)
);

-- what may follow a message: chance per million; delay in seconds, more of them early with a higher power
create temp table kinds (kind_no, metric, chance, least_delay, most_delay, power) as values
    (0, 'sent', 1000000, 0, 1, 1),
    (1, 'delivered', 985000, 2, 60, 2),
    (2, 'bounced', 9000, 2, 600, 2),
    (3, 'deferred', 5000, 1, 60, 1),
    (4, 'opened', 450000, 60, 500000, 6),
    (5, 'opened', 180000, 600, 1100000, 4),
    (6, 'opened', 60000, 6000, 1200000, 2),
    (7, 'clicked', 80000, 300, 600000, 5),
    (8, 'clicked', 20000, 900, 900000, 4),
    (9, 'converted', 30000, 3600, 1123200, 2),
    (10, 'unsubscribed', 3000, 300, 600000, 3),
    (11, 'spammed', 500, 300, 600000, 3);

create temp macro delivery_second(number) as
    number // 91000 * 86400 + cast((number % 91000 // 91 * 100 + number % 91) * 0.864 as bigint)
    + dice(number, 'second') % 60;
-- every tenth delivery goes on with the journey of the one before, by the other template of its campaign
create temp macro is_second_of_journey(number) as number % 91 % 10 = 1;
create temp macro journey_number(number) as number - cast(is_second_of_journey(number) as int);
create temp macro template_number(number) as
    xor(
        cast(dice(journey_number(number), 'template') % {TEMPLATES} as int),
        cast(is_second_of_journey(number) as int)
    );
create temp macro ulid(second, salt, number) as
    to_base({FIRST_DAY * 86_400_000} + second * 1000 + dice(number, salt) % 1000, 32, 10)
    || upper(substr(md5(salt || number), 1, 16));
create temp macro copy_id(number) as
    md5('copy' || number)[:8] || '-0000-4000-8000-' || md5('copy' || number)[9:20];
create temp macro message_id(salt, number) as base64(unhex(sha1(salt || number)));
create temp macro days_late(number, salt) as
    case when dice(number, salt) % 100 = 0 then 1 + cast(dice(number, salt, 'days') % 20 as int) else 0 end;

create temp table pending (
    source varchar, number bigint, kind_no int, copy_of_row int, second bigint, land_day int
);
"""

# Of 100 rows of calls 91 are first calls, 8 call again for one of these deliveries (one of them on the next
# day) and one is the exact copy of another row.
CALLS = f"""
with numbered as (
    select
        row_no,
        row_no // {CALLS_PER_DAY} as day,
        row_no % {CALLS_PER_DAY} // 100 as block,
        row_no % 100 as place
    from range(greatest(0, $day - 20) * {CALLS_PER_DAY}, ($day + 1) * {CALLS_PER_DAY}) as numbers (row_no)
    where row_no // {CALLS_PER_DAY} + days_late(row_no, 'call') = $day
),
deliveries as (
    select
        row_no,
        place between 91 and 98 as is_retry,
        case
            when place < 91 then day * 91000 + block * 91 + place
            when place < 98 then day * 91000 + block * 91 + (place - 91) * 11
            when place = 98 then greatest(0, day - 1) * 91000 + block * 91 + 77
            else day * 91000 + block * 91 + 50
        end as number
    from numbered
),
calls as (
    select
        row_no,
        number,
        journey_number(number) as journey,
        template_number(number) as template_no,
        cast([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4][dice(number, 'copy') % 12 + 1] as int)
        + number // 91000 // 30 + cast(is_retry and dice(row_no, 'other') % 3 = 0 as int) as draw,
        delivery_second(number)
        + case when is_retry then 30 + dice(row_no, 'again') % 3000 else 0 end
        + case when row_no % 100 = 98 then 86400 else 0 end as second,
        dice(number, 'attrs') % 2000 as attrs_no,
        dice(number, 'order') % 50 = 0 as is_reordered
    from deliveries
),
versions as (
    select
        *,
        template_no * 5 + draw % 5 as copy_no,
        (second // 86400 + (template_no * 5 + draw % 5) * 7) // 45 as version_no
    from calls
)
select
    {FIRST_DAY * 86_400} + second as event_timestamp,
    'u' || dice(journey, 'user') % 2000000 as user_id,
    100 + dice(journey, 'template') % {TEMPLATES} // 2 as campaign_id,
    1000 + template_no * 10 as action_id,
    ulid(delivery_second(journey), 'j', journey) as journey_id,
    copy_id(versions.copy_no) as copy_id,
    'template-' || template_no as template_id,
    contents.vars,
    attributes.attrs,
    $folder || '/justai/calls/' || strftime(make_timestamp(({FIRST_DAY} + $day) * 86400000000
        + second % 86400 // 3600 * 3600000000), '%Y/%m/%d/%H') || '/calls.jsonl' as _file,
    row_number() over () as _line,
    make_timestamp(({FIRST_DAY} + $day + 1) * 86400000000 + 3600000000) as _loaded_at,
    'calls-' || lpad(cast($day as varchar), 5, '0') as _batch_id
from versions
inner join contents
    on
        versions.copy_no = contents.copy_no
        -- each fourth version goes back to the last but one
        and version_no - case when version_no % 4 = 3 then 2 else 0 end = contents.content_no
        and versions.is_reordered = contents.is_reordered
inner join attributes using (attrs_no)
"""

# m: the message of a delivery, c: control message, n: newsletter, w: the webhook action that called JustAI
PLAN = """
insert into pending
with messages as (
    select 'm' as source, number, delivery_second(number) + 1 + dice(number, 'send') % 20 as second
    from range($day * 91000, ($day + 1) * 91000) as numbers (number)
    where dice(number, 'message') % 100 < 85
    union all
    select 'w', number, delivery_second(number)
    from range($day * 91000, ($day + 1) * 91000) as numbers (number)
    where dice(number, 'webhook') % 100 < 60
    union all
    select 'c', number, $day * 86400 + cast((number - $day * 4500) * 19.2 as bigint)
    from range($day * 4500, ($day + 1) * 4500) as numbers (number)
    union all
    select 'n', number, $day * 86400 + 36000 + dice(number, 'send') % 7200
    from range($day * 2300, ($day + 1) * 2300) as numbers (number)
),
events as (
    select
        source,
        number,
        kind_no,
        second + least_delay + cast(
            (most_delay - least_delay)
            * pow(dice(source, number, kind_no, 'delay') % 1000000 / 1000000.0, power)
            as bigint
        ) as second
    from messages
    inner join kinds
        on
            dice(source, number, kind_no) % 1000000 < chance
            and (source != 'w' or kind_no = 0)
)
select
    source,
    number,
    kind_no,
    copy_no,
    second,
    second // 86400
    + case when copy_no = 0 then days_late(dice(source, number, kind_no), 'event')
      else cast(dice(source, number, kind_no, 'copy') % 4 = 0 as int) end as land_day
from events, (values (0), (1)) as copies (copy_no)
where copy_no = 0 or dice(source, number, kind_no, 'copied') % 100 = 0
"""

EVENTS = f"""
with due as (
    select
        *,
        dice(source, number, kind_no, 'flag') as dice,
        case when source in ('m', 'w') then journey_number(number) else number end as journey,
        case
            when source in ('m', 'w') then template_number(number)
            else dice(number, 'control') % {TEMPLATES // 2} * 2
        end as template_no
    from pending
    inner join kinds using (kind_no)
    where land_day = $day
),
ids as (
    select
        *,
        case
            when source in ('m', 'w') then ulid(delivery_second(journey), 'j', journey)
            when source = 'c' then ulid(number // 4500 * 86400, 'k', number)
        end as journey_id,
        'u' || case
            when source in ('m', 'w') then dice(journey, 'user') % 2000000
            else dice(number, source) % 2000000
        end as user_id,
        case
            when source in ('m', 'w') then 100 + dice(journey, 'template') % {TEMPLATES} // 2
            else 100 + template_no // 2
        end as campaign_id,
        1000 + template_no * 10 + case source when 'm' then 1 when 'c' then 2 else 0 end as action_id
    from due
)
select
    ulid(second, 'e', source || number || '.' || kind_no) as event_id,
    case when source = 'w' then 'webhook' else 'email' end as object_type,
    metric,
    cast(null as varchar) as event_type,
    {FIRST_DAY * 86_400} + second as timestamp,
    cast(
        case
            when source = 'n' then '{{"newsletter_id":' || 10 + number // 23000
            else '{{"campaign_id":' || campaign_id || ',"journey_id":"' || journey_id
                || '","action_id":' || action_id
        end
        || ',"delivery_id":"' || message_id(source, number) || '","identifiers":{{"id":"' || user_id || '"}}'
        || case
            when source = 'w' then ',"recipient":"https://worker.example.com/generate"'
            else ',"recipient":"' || user_id || '@example.com","subject":"Offer ' || template_no
                || ' for you"'
        end
        || case
            when metric = 'opened' and dice % 5 > 0
                then ',"proxied":' || (dice % 7 = 0) || ',"prefetched":' || (dice % 4 = 0)
                    || case when dice % 50 = 3 then ',"synthetic":true' else '' end
            when metric = 'clicked'
                then ',"href":"https://www.example.com/offer/' || template_no || '","link_id":' || dice % 5
                    || case when dice % 9 > 0 then ',"machine":' || (dice % 6 = 0) else '' end
            when metric = 'bounced' then ',"failure_message":"550 no such user"'
            else ''
        end
        || '}}'
    as json) as data,
    message_id(source, number) as delivery_id,
    journey_id,
    case when source != 'n' then action_id end as action_id,
    cast(null as bigint) as parent_action_id,
    case when source != 'n' then campaign_id end as campaign_id,
    user_id,
    case when metric = 'clicked' then 'https://www.example.com/offer/' || template_no end as href,
    case when metric = 'opened' and dice % 5 > 0 then dice % 4 = 0 end as is_prefetched,
    case when metric = 'opened' and dice % 5 > 0 and dice % 50 = 3 then true end as is_synthetic,
    case when metric = 'clicked' and dice % 9 > 0 then dice % 6 = 0 end as is_machine_click,
    $folder || '/customerio/events/' || strftime(make_timestamp(({FIRST_DAY} + $day) * 86400000000
        + second % 86400 // 3600 * 3600000000), '%Y/%m/%d/%H') || '/events.jsonl' as _file,
    row_number() over () as _line,
    make_timestamp(({FIRST_DAY} + $day + 1) * 86400000000 + 1800000000) as _loaded_at,
    'events-' || lpad(cast($day as varchar), 5, '0') as _batch_id
from (from ids order by second % 86400, dice(number), source, kind_no, copy_of_row)
"""

# The landing tables' ledger and batches, from the rows of one day.
LEDGER = """
insert into staging.landed_files
    (dataset, file, path_hour, size_bytes, content_hash, row_count, reject_count, loaded_at, batch_id)
select
    $dataset, _file, strptime(regexp_extract(_file, '[0-9]{4}(/[0-9]{2}){3}'), '%Y/%m/%d/%H'),
    count(*) * 400, md5(_file), count(*), 0, any_value(_loaded_at), any_value(_batch_id)
from rows_of_day
group by _file
"""
BATCH = "insert into staging.landed_batches select distinct _batch_id, $dataset, _loaded_at from rows_of_day"
