-- The hand-tuned script that the dbt project is measured against: from the landing tables and seeds to the same
-- final tables, in one run from nothing. $seeds is the seeds' folder; vars are written out.
--
-- What decided its form, at 10 M calls and 29 M events, in processor seconds:
-- * Writing text costs more than anything else, because DuckDB tries DICT_FSST on every column: 24 M rows of
--   parsed events (event_id, delivery_id, journey_id and numbers) take 40 to write and 9 to parse. So events are
--   parsed again in each pass (three times) and never stored before the fact. Ids of high entropy declared
--   `varchar using compression uncompressed` cost less (7 M rows of the event fact 8.0, else 13.6); the fact has them as the dbt project's fact has.
-- * Parsing: one json_transform of the needed fields 9, one ->> 5; `variables` is taken as JSON (nested it costs 1.6 more).
-- * Calls by (copy, hour, template, vars): 0.8; it gives the distinct contents, the runs of versions (only hours with
--   two contents are read by the second) and nothing else needs all rows.
-- * hash(journey_id, action_id) having count(*) > 1: 2.4, finds the retried calls; all others (nine of ten) are deliveries
--   without any window or distinct. The same with hash(event_id), 9, for events: only they are compared in full.
-- * Joining 10 M calls to canonical vars and attrs by their JSON text: 0.4, as the text is dictionary-compressed.
-- * Messages are grouped by delivery_id with any_value(ids) and a check that all ids agree, and those whose ids differ
--   go another way; grouping by all ids costs about the same (2.2 and 2.4 at 1 M calls, written out).
-- * Firsts need no window over all events: a message's count per metric (nibbles of one sum) says which events
--   are alone, only the others are ranked.
-- * Daily marts: one group by over the fact (2.3) gives the cells of all three; the pivot works on these.
-- * A cell's template and campaign are its copy's when the copy has only one of each; only other copies look for the
--   newest delivery.

-- step: settings and seeds
drop schema if exists baseline cascade;
create schema baseline;
create temp table template_settings as from read_csv('$seeds/template_settings.csv', header = true, all_varchar = true);
create temp table template_actions as
select template_id, cast(campaign_id as bigint) as campaign_id, role, cast(action_id as bigint) as action_id
from read_csv('$seeds/template_actions.csv', header = true, all_varchar = true);
create temp table counts_of as
select metric, counts_as, case when counts_as is not null then least(dense_rank() over (order by counts_as) - 1, 14) end as code
from (
    select metric, max(counts_as) as counts_as
    from read_csv('$seeds/engagement_metrics.csv', header = true, all_varchar = true)
    group by metric
);
create temp table action_map as
select
    messages.template_id,
    messages.action_id as message_action_id,
    messages.campaign_id as message_campaign_id,
    webhooks.action_id as webhook_action_id,
    webhooks.campaign_id as webhook_campaign_id
from template_actions as messages
left join template_actions as webhooks on messages.template_id = webhooks.template_id and webhooks.role = 'webhook'
where messages.role = 'message';

-- step: calls by hour and content
create temp table hours as
select
    copy_id, event_timestamp // 3600 as hour, template_id, vars,
    min(event_timestamp) as first_timestamp, max(event_timestamp) as last_timestamp, count(*) as row_count
from staging.justai_calls
group by all;

-- step: contents
create temp macro canonical(object) as '{' || coalesce(array_to_string(list_transform(
    list_sort(list_filter(
        map_entries(cast(object as map(varchar, json))),
        lambda member: member.value is not null and cast(member.value as varchar) != 'null'
    )),
    lambda member: cast(to_json(member.key) as varchar) || ':' || cast(member.value as varchar)
), ','), '') || '}';
create table baseline.canonical_vars as
select template_id, logged_vars, vars, md5(template_id || chr(10) || vars) as content_hash
from (
    select template_id, vars as logged_vars, canonical(vars) as vars
    from (select distinct template_id, vars from hours)
);
create table baseline.canonical_attrs as
select logged_attrs, canonical(logged_attrs) as attrs
from (select distinct attrs as logged_attrs from staging.justai_calls);
create table baseline.contents as select distinct content_hash, template_id, vars from baseline.canonical_vars;

-- step: versions
create temp table content_runs as
with hourly as (
    select copy_id, hour, content_hash, min(first_timestamp) as first_timestamp, max(last_timestamp) as last_timestamp
    from hours
    inner join baseline.canonical_vars as canonical_vars on hours.template_id = canonical_vars.template_id and hours.vars = canonical_vars.logged_vars
    group by all
),
mixed as (
    select copy_id, hour from hourly group by all having count(*) > 1
),
instants as (
    select calls.copy_id, calls.event_timestamp, max(content_hash) as content_hash
    from staging.justai_calls as calls
    inner join mixed on calls.copy_id = mixed.copy_id and calls.event_timestamp // 3600 = mixed.hour
    inner join baseline.canonical_vars as canonical_vars
        on calls.template_id = canonical_vars.template_id and calls.vars = canonical_vars.logged_vars
    group by all
)
select copy_id, first_timestamp as event_timestamp, content_hash
from hourly
anti join mixed using (copy_id, hour)
union all
select copy_id, event_timestamp, content_hash from instants;
create table baseline.dim_copy_variants as
with starts as (
    select * from content_runs
    qualify content_hash is distinct from lag(content_hash) over (partition by copy_id order by event_timestamp)
),
versions as (
    select
        *,
        lead(event_timestamp) over by_copy as next_timestamp,
        row_number() over by_copy as version_number,
        row_number() over (partition by copy_id, content_hash order by event_timestamp) as use_of_content
    from starts
    window by_copy as (partition by copy_id order by event_timestamp)
)
select
    md5('"' || copy_id || '","' || event_timestamp || '"') as version_key,
    copy_id,
    version_number,
    contents.template_id,
    content_hash,
    json_extract_string(contents.vars, '$.subject') as subject,
    json_extract_string(contents.vars, '$.preheader') as preheader,
    json_extract_string(contents.vars, '$.body') as body,
    contents.vars,
    case when version_number = 1 then 'created' when use_of_content > 1 then 'reverted' else 'edited' end as change_type,
    make_timestamp(event_timestamp * 1000000) as valid_from,
    make_timestamp(next_timestamp * 1000000) as valid_to,
    next_timestamp is null as is_current
from versions
inner join baseline.contents as contents using (content_hash);

-- step: repeated calls
create temp macro quoted(value) as
    coalesce('"' || replace(replace(cast(value as varchar), '\', '\\'), '"', '\"') || '"', 'null');
create macro baseline.call_hash(journey_id, action_id, event_timestamp, user_id, copy_id) as
    case
        when journey_id is not null and action_id is not null then hash(journey_id, action_id)
        else hash(event_timestamp, user_id, copy_id)
    end;
create table baseline.repeated_hashes as
select baseline.call_hash(journey_id, action_id, event_timestamp, user_id, copy_id) as call_hash
from staging.justai_calls
group by call_hash
having count(*) > 1;
create table baseline.repeated_calls as
with logged as (
    select * exclude (call_hash)
    from (
        select
            event_timestamp, user_id, campaign_id, action_id, journey_id, copy_id, template_id, vars, attrs,
            baseline.call_hash(journey_id, action_id, event_timestamp, user_id, copy_id) as call_hash
        from staging.justai_calls
    )
    semi join baseline.repeated_hashes as repeated_hashes using (call_hash)
),
calls as (
    select
        event_timestamp, user_id, campaign_id, action_id, journey_id, copy_id, content_hash, canonical_attrs.attrs,
        count(*) as row_count
    from logged
    inner join baseline.canonical_vars as canonical_vars on logged.template_id = canonical_vars.template_id and logged.vars = canonical_vars.logged_vars
    inner join baseline.canonical_attrs as canonical_attrs on logged.attrs = canonical_attrs.logged_attrs
    group by all
)
select
    case
        when journey_id is not null and action_id is not null then md5(quoted(journey_id) || ',' || quoted(action_id))
        else md5(concat_ws(
            ',', quoted(event_timestamp), quoted(user_id), quoted(campaign_id), quoted(action_id), quoted(journey_id),
            quoted(copy_id), quoted(contents.template_id), quoted(contents.vars), quoted(attrs)
        ))
    end as delivery_key,
    calls.*,
    contents.template_id
from calls
inner join baseline.contents as contents using (content_hash);

-- step: deliveries
create table baseline.fct_deliveries (
    delivery_key varchar $id_storage, journey_id varchar $id_storage, action_id bigint, campaign_id bigint,
    template_id varchar, copy_id varchar, content_hash varchar, user_id varchar $id_storage, delivery_date date,
    first_called_at timestamp, last_called_at timestamp, call_count bigint, copy_conflict boolean, attrs varchar
);
insert into baseline.fct_deliveries
select
    case
        when journey_id is not null and action_id is not null then md5(quoted(journey_id) || ',' || quoted(action_id))
        else md5(concat_ws(
            ',', quoted(event_timestamp), quoted(user_id), quoted(campaign_id), quoted(action_id), quoted(journey_id),
            quoted(copy_id), quoted(calls.template_id), quoted(canonical_vars.vars), quoted(canonical_attrs.attrs)
        ))
    end as delivery_key,
    journey_id,
    action_id,
    campaign_id,
    calls.template_id,
    copy_id,
    content_hash,
    user_id,
    cast(make_timestamp(event_timestamp * 1000000) as date) as delivery_date,
    make_timestamp(event_timestamp * 1000000) as first_called_at,
    make_timestamp(event_timestamp * 1000000) as last_called_at,
    cast(1 as bigint) as call_count,
    false as copy_conflict,
    canonical_attrs.attrs
from (
    select *, baseline.call_hash(journey_id, action_id, event_timestamp, user_id, copy_id) as call_hash
    from staging.justai_calls
) as calls
anti join baseline.repeated_hashes as repeated_hashes on calls.call_hash = repeated_hashes.call_hash
inner join baseline.canonical_vars as canonical_vars on calls.template_id = canonical_vars.template_id and calls.vars = canonical_vars.logged_vars
inner join baseline.canonical_attrs as canonical_attrs on calls.attrs = canonical_attrs.logged_attrs;

create temp table ranked_calls as
select
    *,
    min(event_timestamp) over by_delivery as first_timestamp,
    count(*) over by_delivery as call_count,
    min(copy_id) over by_delivery != max(copy_id) over by_delivery as copy_conflict,
    row_number() over by_recency as recency,
    first_value(template_id) over by_recency as last_template_id,
    first_value(campaign_id) over by_recency as last_campaign_id
from baseline.repeated_calls
window
    by_delivery as (partition by delivery_key),
    by_recency as (
        partition by delivery_key
        order by
            event_timestamp desc, content_hash desc, copy_id desc, attrs desc, user_id desc nulls last,
            campaign_id desc nulls last
    );
insert into baseline.fct_deliveries
select
    delivery_key,
    journey_id,
    action_id,
    campaign_id,
    template_id,
    copy_id,
    content_hash,
    user_id,
    cast(make_timestamp(event_timestamp * 1000000) as date),
    make_timestamp(first_timestamp * 1000000),
    make_timestamp(event_timestamp * 1000000),
    call_count,
    copy_conflict,
    attrs
from ranked_calls
where recency = 1;

-- step: events, parsed
create temp macro whole(text) as case
    when regexp_full_match(text, '-?[0-9]+') then try_cast(text as bigint)
    when
        regexp_full_match(text, '-?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?')
        and abs(try_cast(text as double)) < 9007199254740992
        and floor(try_cast(text as double)) = try_cast(text as double)
        then cast(try_cast(text as double) as bigint)
end;
create temp macro truth(text) as case
    when lower(trim(text)) in ('true', 't', 'yes', 'y', '1', '1.0') then true
    when lower(trim(text)) in ('false', 'f', 'no', 'n', '0', '0.0') then false
end;
create temp macro plain_name(name) as nullif(replace(lower(trim(name)), '-', '_'), '');
create temp macro without_nulls(json_text) as regexp_replace(
    regexp_replace(
        regexp_replace(
            replace(replace(replace(replace(json_text, '\\', chr(1)), '\"', chr(2)), '<', chr(3)), '>', chr(4)),
            '"([^"]*)"', '<\1>', 'g'
        ), '<[^<>]*>:null,', '', 'g'
    ), ',?<[^<>]*>:null', '', 'g'
);
create temp macro channel_of(name) as case
    when name like 'email^_%' escape '^' then 'email'
    when name like 'push^_%' escape '^' then 'push'
    when name like 'sms^_%' escape '^' then 'sms'
    when name like 'twilio^_%' escape '^' then 'twilio'
    when name like 'in^_app^_%' escape '^' then 'in_app'
    when name like 'slack^_%' escape '^' then 'slack'
    when name like 'whatsapp^_%' escape '^' then 'whatsapp'
    when name like 'webhook^_%' escape '^' then 'webhook'
    when name like 'customer^_%' escape '^' then 'customer'
    when name like 'urban^_airship^_%' escape '^' then 'urban_airship'
end;
-- channel and metric of the distinct spellings, a few dozen
create temp table names as
with spelt as (
    select distinct object_type, metric, event_type from staging.customerio_events
),
lowered as (
    select
        *,
        plain_name(object_type) as lower_type,
        coalesce(plain_name(metric), plain_name(event_type), 'unknown') as metric_name,
        plain_name(event_type) as type_name
    from spelt
),
named as (
    select
        object_type,
        metric as logged_metric,
        event_type,
        coalesce(
            lower_type, channel_of(metric_name), channel_of(type_name),
            case when metric_name = 'cio_subscription_preferences_changed' then 'customer' else 'unknown' end
        ) as raw_channel,
        case
            when channel_of(metric_name) is null then metric_name
            when metric_name = 'customer_subscription_preferences_changed' then 'cio_subscription_preferences_changed'
            else substr(metric_name, length(channel_of(metric_name)) + 2)
        end as metric
    from lowered
)
select
    object_type as logged_type,
    logged_metric,
    event_type as logged_event_type,
    case when raw_channel = 'twilio' then 'sms' else raw_channel end as channel,
    named.metric,
    counts_of.counts_as,
    counts_of.code,
    counts_of.metric is not null as is_known
from named
left join counts_of on named.metric = counts_of.metric;

-- step: repeated events
create temp macro fields(data) as json_transform(data, '{
    "delivery_id": "VARCHAR", "journey_id": "VARCHAR", "action_id": "VARCHAR", "parent_action_id": "VARCHAR",
    "campaign_id": "VARCHAR", "variables": "JSON", "prefetched": "VARCHAR", "synthetic": "VARCHAR",
    "machine": "VARCHAR", "email_id": "VARCHAR", "identifiers": "JSON", "customer_id": "VARCHAR", "href": "VARCHAR"
}');
create temp macro message_of(f) as coalesce(
    nullif(f.delivery_id, ''), nullif(f.variables->>'$.delivery_id', ''), nullif(f.email_id, '')
);
create temp macro payload_hash(event_timestamp, channel, metric, data) as md5(concat_ws(
    ',',
    quoted(event_timestamp),
    quoted(channel),
    quoted(metric),
    quoted(coalesce(
        nullif(data->>'$.delivery_id', ''), nullif(data->>'$.variables.delivery_id', ''), nullif(data->>'$.email_id', '')
    )),
    quoted(nullif(data->>'$.journey_id', '')),
    quoted(whole(nullif(data->>'$.action_id', ''))),
    quoted(whole(nullif(data->>'$.parent_action_id', ''))),
    quoted(coalesce(whole(nullif(data->>'$.campaign_id', '')), whole(nullif(data->>'$.variables.campaign.id', '')))),
    quoted(whole(nullif(data->>'$.broadcast_id', ''))),
    quoted(whole(nullif(data->>'$.trigger_id', ''))),
    quoted(whole(nullif(data->>'$.newsletter_id', ''))),
    quoted(whole(nullif(data->>'$.content_id', ''))),
    quoted(nullif(data->>'$.transactional_message_id', '')),
    quoted(nullif(data->>'$.trigger_event_id', '')),
    quoted(coalesce(nullif(data->>'$.identifiers.id', ''), nullif(data->>'$.customer_id', ''))),
    quoted(nullif(data->>'$.identifiers.email', '')),
    quoted(nullif(data->>'$.identifiers.cio_id', '')),
    quoted(nullif(data->>'$.email_address', '')),
    quoted(coalesce(nullif(data->>'$.recipient', ''), nullif(data->>'$.email_address', ''))),
    quoted(without_nulls(nullif(data->>'$.recipients', ''))),
    quoted(nullif(data->>'$.subject', '')),
    quoted(nullif(data->>'$.content', '')),
    quoted(without_nulls(nullif(data->>'$.headers', ''))),
    quoted(nullif(data->>'$.failure_message', '')),
    quoted(nullif(data->>'$.href', '')),
    quoted(coalesce(cast(whole(nullif(data->>'$.link_id', '')) as varchar), nullif(data->>'$.link_id', ''))),
    quoted(nullif(data->>'$.tracked_response', '')),
    quoted(nullif(data->>'$.inbound_event_id', '')),
    quoted(nullif(data->>'$.to', '')),
    quoted(truth(nullif(data->>'$.proxied', ''))),
    quoted(truth(nullif(data->>'$.prefetched', ''))),
    quoted(truth(nullif(data->>'$.synthetic', ''))),
    quoted(truth(nullif(data->>'$.machine', ''))),
    quoted(try_cast(nullif(data->>'$.variables.value', '') as decimal(18, 4)))
));
create temp table repeated_ids as
select hash(event_id) as id_hash from staging.customerio_events group by id_hash having count(*) > 1;
create temp table repeated_events as
with distinct_rows as (
    select distinct event_id, object_type, metric, event_type, timestamp, data
    from (select *, hash(event_id) as id_hash from staging.customerio_events)
    semi join repeated_ids using (id_hash)
),
counted as (
    select *, count(*) over (partition by event_id, timestamp // 86400) as row_count from distinct_rows
)
select event_id, object_type, counted.metric, event_type, timestamp, data
from counted
inner join names
    on
        counted.object_type is not distinct from names.logged_type
        and counted.metric is not distinct from names.logged_metric
        and counted.event_type is not distinct from names.logged_event_type
qualify row_number() over (
    partition by event_id, timestamp // 86400
    order by
        timestamp desc,
        case when row_count > 1 then payload_hash(timestamp, channel, names.metric, data) end desc
) = 1;
create temp view events as
select
    event_id,
    timestamp,
    channel,
    metric,
    counts_as,
    code,
    is_known,
    message_of(f) as delivery_id,
    nullif(f.journey_id, '') as journey_id,
    whole(f.action_id) as action_id,
    whole(f.parent_action_id) as parent_action_id,
    coalesce(whole(f.campaign_id), whole(f.variables->>'$.campaign.id')) as campaign_id,
    coalesce(nullif(f.identifiers->>'$.id', ''), nullif(f.customer_id, '')) as user_id,
    case when metric = 'clicked' then nullif(f.href, '') end as href,
    case when counts_as = 'converted' then try_cast(nullif(f.variables->>'$.value', '') as decimal(18, 4)) end as conversion_value,
    case when metric = 'opened' then truth(f.prefetched) end as is_prefetched,
    case when metric = 'opened' then truth(f.synthetic) end as is_synthetic,
    case when metric = 'clicked' then truth(f.machine) end as is_machine_click
from (
    select event_id, timestamp, names.channel, names.metric, names.counts_as, names.code, names.is_known, fields(data) as f
    from (
        select event_id, object_type, metric, event_type, timestamp, data
        from (select *, hash(event_id) as id_hash from staging.customerio_events)
        anti join repeated_ids using (id_hash)
        union all
        from repeated_events
    ) as logged
    inner join names
        on
            logged.object_type is not distinct from names.logged_type
            and logged.metric is not distinct from names.logged_metric
            and logged.event_type is not distinct from names.logged_event_type
    where names.channel not in ('webhook', 'customer')
);

-- step: messages
create table baseline.messages (
    delivery_id varchar using compression uncompressed, first_timestamp bigint, has_human_click boolean,
    journey_id varchar using compression uncompressed, action_id bigint, parent_action_id bigint, campaign_id bigint,
    is_uniform boolean, tally bigint
);
insert into baseline.messages
select
    delivery_id,
    min(timestamp) as first_timestamp,
    coalesce(bool_or(metric = 'clicked' and is_machine_click is distinct from true), false) as has_human_click,
    any_value(journey_id) as journey_id,
    any_value(action_id) as action_id,
    any_value(parent_action_id) as parent_action_id,
    any_value(campaign_id) as campaign_id,
    min(hash(journey_id, action_id, parent_action_id, campaign_id, channel))
    = max(hash(journey_id, action_id, parent_action_id, campaign_id, channel)) as is_uniform,
    case when count(*) < 16 then sum(cast(1 as bigint) << (4 * code)) end as tally
from events
group by delivery_id
having delivery_id is not null;

-- step: matches
set variable uneven_from = (select min(first_timestamp) from baseline.messages where not is_uniform);
create temp table id_sets as
select
    delivery_id, journey_id, action_id, parent_action_id, campaign_id,
    min(lpad(cast(timestamp as varchar), 11, '0') || event_id) as first_event_order
from events
semi join (from baseline.messages where not is_uniform) using (delivery_id)
where timestamp >= getvariable('uneven_from')
group by all;
create type baseline.copy as enum (select distinct copy_id from baseline.fct_deliveries order by copy_id);
create table baseline.candidates (
    delivery_id varchar using compression uncompressed, journey_id varchar using compression uncompressed, action_id bigint, parent_action_id bigint, campaign_id bigint,
    first_timestamp bigint, has_human_click boolean, is_uniform boolean, tally bigint, first_event_order varchar,
    delivery_key varchar using compression uncompressed, copy_id baseline.copy, delivery_date date, first_called_at timestamp, last_called_at timestamp, method utinyint,
    is_in_range boolean
);
insert into baseline.candidates
with ids as (
    select delivery_id, journey_id, action_id, parent_action_id, campaign_id, first_timestamp, has_human_click, is_uniform, tally, null as first_event_order
    from baseline.messages
    where is_uniform
    union all
    select
        id_sets.delivery_id, id_sets.journey_id, id_sets.action_id, id_sets.parent_action_id, id_sets.campaign_id,
        first_timestamp, has_human_click, false, tally, first_event_order
    from id_sets
    inner join baseline.messages as messages using (delivery_id)
)
select
    ids.*,
    deliveries.delivery_key,
    deliveries.copy_id,
    deliveries.delivery_date,
    deliveries.first_called_at,
    deliveries.last_called_at,
    case
        when deliveries.delivery_key is null then null
        when not (
            deliveries.last_called_at >= make_timestamp((first_timestamp - 30 * 86400) * 1000000)
            and deliveries.last_called_at <= make_timestamp((first_timestamp + 7 * 86400) * 1000000)
        ) then null
        when ids.action_id = deliveries.action_id then 1
        when by_action.template_id is not null then 2
        when ids.parent_action_id = deliveries.action_id then 3
        when by_parent.template_id is not null then 4
    end as method,
    coalesce(
        deliveries.last_called_at >= make_timestamp((first_timestamp - 30 * 86400) * 1000000)
        and deliveries.last_called_at <= make_timestamp((first_timestamp + 7 * 86400) * 1000000), false
    ) as is_in_range
from ids
left join (
    select
        delivery_key, journey_id, action_id, template_id, cast(copy_id as baseline.copy) as copy_id, delivery_date,
        first_called_at, last_called_at
    from baseline.fct_deliveries
) as deliveries
    on ids.journey_id = deliveries.journey_id and deliveries.action_id is not null
left join action_map as by_action
    on
        ids.action_id = by_action.message_action_id
        and deliveries.template_id = by_action.template_id
        and (by_action.webhook_action_id is null or by_action.webhook_action_id = deliveries.action_id)
        and (by_action.message_campaign_id is null or ids.campaign_id is null or by_action.message_campaign_id = ids.campaign_id)
        and (by_action.webhook_campaign_id is null or ids.campaign_id is null or by_action.webhook_campaign_id = ids.campaign_id)
left join action_map as by_parent
    on
        ids.parent_action_id = by_parent.message_action_id
        and deliveries.template_id = by_parent.template_id
        and (by_parent.webhook_action_id is null or by_parent.webhook_action_id = deliveries.action_id)
        and (by_parent.message_campaign_id is null or ids.campaign_id is null or by_parent.message_campaign_id = ids.campaign_id)
        and (by_parent.webhook_campaign_id is null or ids.campaign_id is null or by_parent.webhook_campaign_id = ids.campaign_id);
create temp table several as
select hash(delivery_id) as message_hash from baseline.candidates group by message_hash having count(*) > 1;

-- messages that nothing matched: control arm, or why
create table baseline.unmatched as
with loose as (
    from baseline.candidates where method is null
),
unmatched as (
    from loose
    anti join (
        select delivery_id from baseline.candidates semi join several on hash(delivery_id) = message_hash where method is not null
    ) using (delivery_id)
),
controls as (
    select delivery_id, arg_min(template_actions.template_id, (first_event_order, template_actions.template_id)) as control_template_id
    from unmatched
    inner join template_actions
        on
            unmatched.action_id = template_actions.action_id
            and template_actions.role = 'control'
            and (template_actions.campaign_id is null or unmatched.campaign_id is null or template_actions.campaign_id = unmatched.campaign_id)
    group by delivery_id
),
mapped as (
    select distinct message_action_id from action_map
)
select
    delivery_id,
    control_template_id,
    case
        when control_template_id is not null then null
        when not bool_or(journey_id is not null) then 'no_journey_id'
        when not bool_or(journey_id is not null and coalesce(action_id, parent_action_id) is not null) then 'no_action_id'
        when count(delivery_key) = 0 then 'no_call_in_journey'
        when not bool_or(is_in_range) then 'call_out_of_range'
        when not bool_or(by_action.message_action_id is not null or by_parent.message_action_id is not null)
            then 'action_not_mapped'
        else 'map_disagrees'
    end as unmatched_reason
from unmatched
left join controls using (delivery_id)
left join mapped as by_action on unmatched.action_id = by_action.message_action_id
left join mapped as by_parent on unmatched.parent_action_id = by_parent.message_action_id
group by delivery_id, control_template_id;

-- of several candidates the earliest event with any match decides
create temp table best as
select * exclude (message_hash)
from (select *, hash(delivery_id) as message_hash from baseline.candidates)
semi join several using (message_hash)
qualify row_number() over (
    partition by delivery_id
    order by
        method is null,
        first_event_order,
        method,
        case when first_called_at <= make_timestamp(first_timestamp * 1000000) then 0 else 1 end,
        case when first_called_at <= make_timestamp(first_timestamp * 1000000) then first_called_at end desc,
        first_called_at,
        delivery_key
) = 1;
delete from baseline.candidates where hash(delivery_id) in (select message_hash from several);
insert into baseline.candidates from best;
create temp table shared_keys as
select hash(delivery_key) as key_hash from baseline.candidates where method is not null group by key_hash having count(*) > 1;

-- step: events of messages
create temp view judged as
with verdicts as (
    select
        delivery_id,
        case when method is not null then delivery_key end as delivery_key,
        case when method is not null then copy_id end as copy_id,
        control_template_id,
        case
            when method is not null then delivery_date
            when control_template_id is not null then cast(make_timestamp(first_timestamp * 1000000) as date)
        end as delivery_date,
        case when method is not null then last_called_at end as last_called_at,
        first_timestamp,
        has_human_click,
        unmatched_reason,
        case
            when control_template_id is not null then 'control'
            else ['direct', 'action_map', 'parent_direct', 'parent_map'][method]
        end as match_method,
        is_uniform,
        case when not is_uniform then journey_id end as match_journey_id,
        case when not is_uniform then action_id end as match_action_id,
        case when not is_uniform then parent_action_id end as match_parent_id,
        case when not is_uniform then campaign_id end as match_campaign_id,
        case when is_uniform and (method is null or key_hash is null) then tally end as tally
    from baseline.candidates
    left join baseline.unmatched using (delivery_id)
    left join shared_keys on hash(candidates.delivery_key) = shared_keys.key_hash
)
select
    event_id,
    cast(make_timestamp(timestamp * 1000000) as date) as event_date,
    make_timestamp(timestamp * 1000000) as event_at,
    channel,
    metric,
    counts_as,
    delivery_id,
    journey_id,
    action_id,
    parent_action_id,
    campaign_id,
    user_id,
    href,
    case
        when metric = 'opened'
            then coalesce(is_prefetched, false) or (coalesce(is_synthetic, false) and not has_human_click)
        when metric = 'clicked' then coalesce(is_machine_click, false)
        else false
    end as is_machine,
    conversion_value,
    delivery_key,
    copy_id,
    control_template_id,
    case
        when
            is_uniform or match_method is null or match_method = 'control'
            or (
                journey_id is not distinct from match_journey_id
                and action_id is not distinct from match_action_id
                and parent_action_id is not distinct from match_parent_id
                and campaign_id is not distinct from match_campaign_id
            )
            then match_method
        else 'delivery_id'
    end as match_method,
    unmatched_reason,
    case
        when unmatched_reason is not null then 'unmatched'
        when timestamp > first_timestamp + 90 * 86400 then 'outside_window'
        when not is_known then 'unknown_metric'
        when counts_as is null then 'not_counted'
    end as uncounted_reason,
    uncounted_reason is null as counts,
    delivery_date,
    last_called_at,
    coalesce(
        (counts_as = 'delivered' and channel not in ('in_app', 'slack'))
        or (counts_as = 'sent' and channel in ('in_app', 'slack')), false
    ) as is_reached,
    not counts or coalesce((tally >> (4 * code)) & 15 = 1, false) as is_alone,
    code,
    timestamp
from events
inner join verdicts using (delivery_id);
create table baseline.fct_engagement_events (
    event_id varchar $id_storage, event_date date, event_at timestamp, metric_date date, channel varchar, metric varchar, counts_as varchar,
    delivery_id varchar $id_storage, journey_id varchar $id_storage, action_id bigint, parent_action_id bigint,
    campaign_id bigint, user_id varchar, href varchar, is_machine boolean, conversion_value decimal(18, 4), delivery_key varchar $id_storage, copy_id varchar, control_template_id varchar,
    match_method varchar, unmatched_reason varchar, counts boolean, uncounted_reason varchar, delivery_date date,
    last_called_at timestamp, is_first boolean, is_first_human boolean, is_first_reached boolean
);
insert into baseline.fct_engagement_events
select
    event_id, event_date, event_at, event_date, channel, metric, counts_as, delivery_id, journey_id, action_id, parent_action_id,
    campaign_id, user_id, href, is_machine, conversion_value, delivery_key, copy_id, control_template_id, match_method, unmatched_reason, counts,
    uncounted_reason, delivery_date, last_called_at,
    counts as is_first, counts and not is_machine as is_first_human, counts and is_reached as is_first_reached
from judged
where is_alone;

-- step: events of messages that come several times
-- of a message whose tally shows its metrics, only those with a count above one are read again
set variable repeated_metrics = (
    select coalesce(list(code), [])
    from range(15) as codes (code)
    where exists (select 1 from baseline.candidates where (tally >> (4 * code)) & 14 > 0)
);
set variable untold_from = (
    select min(first_timestamp)
    from baseline.candidates
    left join shared_keys on hash(candidates.delivery_key) = shared_keys.key_hash and method is not null
    where not is_uniform or tally is null or key_hash is not null
);
insert into baseline.fct_engagement_events
select
    event_id, event_date, event_at, event_date, channel, metric, counts_as, delivery_id, journey_id, action_id, parent_action_id,
    campaign_id, user_id, href, is_machine, conversion_value, delivery_key, copy_id, control_template_id, match_method, unmatched_reason, counts,
    uncounted_reason, delivery_date, last_called_at,
    counts and row_number() over (
        partition by coalesce(delivery_key, delivery_id), counts, counts_as order by event_at, event_id
    ) = 1,
    counts and not is_machine and row_number() over (
        partition by coalesce(delivery_key, delivery_id), counts, counts_as, is_machine order by event_at, event_id
    ) = 1,
    counts and is_reached and row_number() over (
        partition by coalesce(delivery_key, delivery_id), counts, is_reached order by event_at, event_id
    ) = 1
from judged
where
    not is_alone
    and (list_contains(getvariable('repeated_metrics'), code) or timestamp >= getvariable('untold_from'));

-- step: daily marts
create temp table cells as
select
    event_date as metric_date,
    delivery_date,
    copy_id,
    control_template_id,
    counts_as,
    is_machine,
    count(*) as row_count,
    count(*) filter (is_first) as firsts,
    count(*) filter (is_first_human) as first_humans,
    count(*) filter (is_first_reached) as first_reached,
    sum(conversion_value) as conversion_value
from baseline.fct_engagement_events
where counts
group by all;
create temp table control_copies as
select distinct lower(control_copy_id) as copy_id from template_settings where control_copy_id is not null;
create temp table served as
select
    delivery_date, copy_id, template_id, campaign_id,
    count(*) as served, cast(sum(call_count) as bigint) as api_calls,
    cast(sum(call_count) filter (call_count = 1) as bigint) as single_calls
from baseline.fct_deliveries
group by all;

create table baseline.control_metrics_daily as
with summed as (
    select
        delivery_date,
        control_template_id as template_id,
        coalesce(cast(sum(firsts) filter (counts_as = 'attempted') as bigint), 0) as attempted,
        coalesce(cast(sum(row_count) filter (counts_as = 'attempted') as bigint), 0) as attempted_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'sent') as bigint), 0) as sent,
        coalesce(cast(sum(row_count) filter (counts_as = 'sent') as bigint), 0) as sent_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'delivered') as bigint), 0) as delivered,
        coalesce(cast(sum(row_count) filter (counts_as = 'delivered') as bigint), 0) as delivered_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'opened') as bigint), 0) as opened,
        coalesce(cast(sum(row_count) filter (counts_as = 'opened') as bigint), 0) as opened_events,
        coalesce(cast(sum(first_humans) filter (counts_as = 'opened') as bigint), 0) as human_opened,
        coalesce(cast(sum(row_count) filter (counts_as = 'opened' and not is_machine) as bigint), 0) as human_opened_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'clicked') as bigint), 0) as clicked,
        coalesce(cast(sum(row_count) filter (counts_as = 'clicked') as bigint), 0) as clicked_events,
        coalesce(cast(sum(first_humans) filter (counts_as = 'clicked') as bigint), 0) as human_clicked,
        coalesce(cast(sum(row_count) filter (counts_as = 'clicked' and not is_machine) as bigint), 0) as human_clicked_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'converted') as bigint), 0) as converted,
        coalesce(cast(sum(row_count) filter (counts_as = 'converted') as bigint), 0) as converted_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'unsubscribed') as bigint), 0) as unsubscribed,
        coalesce(cast(sum(row_count) filter (counts_as = 'unsubscribed') as bigint), 0) as unsubscribed_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'bounced') as bigint), 0) as bounced,
        coalesce(cast(sum(row_count) filter (counts_as = 'bounced') as bigint), 0) as bounced_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'dropped') as bigint), 0) as dropped,
        coalesce(cast(sum(row_count) filter (counts_as = 'dropped') as bigint), 0) as dropped_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'spammed') as bigint), 0) as spammed,
        coalesce(cast(sum(row_count) filter (counts_as = 'spammed') as bigint), 0) as spammed_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'failed') as bigint), 0) as failed,
        coalesce(cast(sum(row_count) filter (counts_as = 'failed') as bigint), 0) as failed_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'undeliverable') as bigint), 0) as undeliverable,
        coalesce(cast(sum(row_count) filter (counts_as = 'undeliverable') as bigint), 0) as undeliverable_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'replied') as bigint), 0) as replied,
        coalesce(cast(sum(row_count) filter (counts_as = 'replied') as bigint), 0) as replied_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'deferred') as bigint), 0) as deferred,
        coalesce(cast(sum(row_count) filter (counts_as = 'deferred') as bigint), 0) as deferred_events,
        cast(sum(first_reached) as bigint) as reached,
        cast(coalesce(sum(conversion_value), 0) as decimal(38, 4)) as conversion_value
    from cells
    where control_template_id is not null
    group by all
)
select
    delivery_date, template_id, attempted, attempted_events, sent, sent_events, delivered, delivered_events, opened, opened_events, human_opened, human_opened_events, clicked, clicked_events, human_clicked, human_clicked_events, converted, converted_events, unsubscribed, unsubscribed_events, bounced, bounced_events, dropped, dropped_events, spammed, spammed_events, failed, failed_events, undeliverable, undeliverable_events, replied, replied_events, deferred, deferred_events, reached, conversion_value,
    cast(delivered as double) / nullif(sent, 0) as delivery_rate,
    cast(opened as double) / nullif(reached, 0) as open_rate,
    cast(human_opened as double) / nullif(reached, 0) as human_open_rate,
    cast(clicked as double) / nullif(reached, 0) as click_rate,
    cast(human_clicked as double) / nullif(reached, 0) as human_click_rate,
    cast(converted as double) / nullif(reached, 0) as conversion_rate,
    cast(unsubscribed as double) / nullif(reached, 0) as unsubscribe_rate
from summed;

-- a copy nearly always has one template and campaign; only where it has several must the newest delivery be sought
create temp table owners as
select copy_id, any_value(template_id) as template_id, any_value(campaign_id) as campaign_id, count(*) as owner_count
from (
    select copy_id, template_id, campaign_id from served
    union
    select copy_id, last_template_id, last_campaign_id from ranked_calls
)
group by copy_id;
create temp table cohort_owners as
select delivery_date, copy_id, max_by((template_id, campaign_id), (last_called_at, delivery_key)) as owner
from baseline.fct_deliveries
semi join (from owners where owner_count > 1) using (copy_id)
group by all;
create temp table metric_owners as
select metric_date, parts.copy_id, max_by((template_id, campaign_id), (last_called_at, delivery_key)) as owner
from (
    select delivery_date as metric_date, copy_id, delivery_key from baseline.fct_deliveries
    union all
    select cast(make_timestamp(event_timestamp * 1000000) as date), copy_id, delivery_key from ranked_calls
    union all
    select event_date, copy_id, delivery_key
    from baseline.fct_engagement_events where counts and delivery_key is not null
) as parts
semi join (from owners where owner_count > 1) as several using (copy_id)
inner join baseline.fct_deliveries as deliveries using (delivery_key)
group by all;

create table baseline.copy_cohort_metrics_daily as
with engaged as (
    select
        delivery_date,
        copy_id,
        coalesce(cast(sum(firsts) filter (counts_as = 'attempted') as bigint), 0) as attempted,
        coalesce(cast(sum(row_count) filter (counts_as = 'attempted') as bigint), 0) as attempted_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'sent') as bigint), 0) as sent,
        coalesce(cast(sum(row_count) filter (counts_as = 'sent') as bigint), 0) as sent_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'delivered') as bigint), 0) as delivered,
        coalesce(cast(sum(row_count) filter (counts_as = 'delivered') as bigint), 0) as delivered_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'opened') as bigint), 0) as opened,
        coalesce(cast(sum(row_count) filter (counts_as = 'opened') as bigint), 0) as opened_events,
        coalesce(cast(sum(first_humans) filter (counts_as = 'opened') as bigint), 0) as human_opened,
        coalesce(cast(sum(row_count) filter (counts_as = 'opened' and not is_machine) as bigint), 0) as human_opened_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'clicked') as bigint), 0) as clicked,
        coalesce(cast(sum(row_count) filter (counts_as = 'clicked') as bigint), 0) as clicked_events,
        coalesce(cast(sum(first_humans) filter (counts_as = 'clicked') as bigint), 0) as human_clicked,
        coalesce(cast(sum(row_count) filter (counts_as = 'clicked' and not is_machine) as bigint), 0) as human_clicked_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'converted') as bigint), 0) as converted,
        coalesce(cast(sum(row_count) filter (counts_as = 'converted') as bigint), 0) as converted_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'unsubscribed') as bigint), 0) as unsubscribed,
        coalesce(cast(sum(row_count) filter (counts_as = 'unsubscribed') as bigint), 0) as unsubscribed_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'bounced') as bigint), 0) as bounced,
        coalesce(cast(sum(row_count) filter (counts_as = 'bounced') as bigint), 0) as bounced_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'dropped') as bigint), 0) as dropped,
        coalesce(cast(sum(row_count) filter (counts_as = 'dropped') as bigint), 0) as dropped_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'spammed') as bigint), 0) as spammed,
        coalesce(cast(sum(row_count) filter (counts_as = 'spammed') as bigint), 0) as spammed_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'failed') as bigint), 0) as failed,
        coalesce(cast(sum(row_count) filter (counts_as = 'failed') as bigint), 0) as failed_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'undeliverable') as bigint), 0) as undeliverable,
        coalesce(cast(sum(row_count) filter (counts_as = 'undeliverable') as bigint), 0) as undeliverable_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'replied') as bigint), 0) as replied,
        coalesce(cast(sum(row_count) filter (counts_as = 'replied') as bigint), 0) as replied_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'deferred') as bigint), 0) as deferred,
        coalesce(cast(sum(row_count) filter (counts_as = 'deferred') as bigint), 0) as deferred_events,
        cast(sum(first_reached) as bigint) as reached,
        cast(coalesce(sum(conversion_value), 0) as decimal(38, 4)) as conversion_value
    from cells
    where copy_id is not null
    group by all
),
totals as (
    select delivery_date, copy_id, cast(sum(api_calls) as bigint) as api_calls, cast(sum(served) as bigint) as served
    from served
    group by all
),
summed as (
    select
        delivery_date,
        copy_id,
        case when owner_count = 1 then owners.template_id else owner[1] end as template_id,
        case when owner_count = 1 then owners.campaign_id else owner[2] end as campaign_id,
        api_calls,
        served,
        coalesce(attempted, 0) as attempted, coalesce(attempted_events, 0) as attempted_events,
    coalesce(sent, 0) as sent, coalesce(sent_events, 0) as sent_events,
    coalesce(delivered, 0) as delivered, coalesce(delivered_events, 0) as delivered_events,
    coalesce(opened, 0) as opened, coalesce(opened_events, 0) as opened_events,
    coalesce(human_opened, 0) as human_opened, coalesce(human_opened_events, 0) as human_opened_events,
    coalesce(clicked, 0) as clicked, coalesce(clicked_events, 0) as clicked_events,
    coalesce(human_clicked, 0) as human_clicked, coalesce(human_clicked_events, 0) as human_clicked_events,
    coalesce(converted, 0) as converted, coalesce(converted_events, 0) as converted_events,
    coalesce(unsubscribed, 0) as unsubscribed, coalesce(unsubscribed_events, 0) as unsubscribed_events,
    coalesce(bounced, 0) as bounced, coalesce(bounced_events, 0) as bounced_events,
    coalesce(dropped, 0) as dropped, coalesce(dropped_events, 0) as dropped_events,
    coalesce(spammed, 0) as spammed, coalesce(spammed_events, 0) as spammed_events,
    coalesce(failed, 0) as failed, coalesce(failed_events, 0) as failed_events,
    coalesce(undeliverable, 0) as undeliverable, coalesce(undeliverable_events, 0) as undeliverable_events,
    coalesce(replied, 0) as replied, coalesce(replied_events, 0) as replied_events,
    coalesce(deferred, 0) as deferred, coalesce(deferred_events, 0) as deferred_events,
        coalesce(reached, 0) as reached, coalesce(conversion_value, 0) as conversion_value
    from totals
    left join engaged using (delivery_date, copy_id)
    inner join owners using (copy_id)
    left join cohort_owners using (delivery_date, copy_id)
)
select
    delivery_date, copy_id, template_id, campaign_id, control_copies.copy_id is not null as is_control, api_calls, served,
    attempted, attempted_events, sent, sent_events, delivered, delivered_events, opened, opened_events, human_opened, human_opened_events, clicked, clicked_events, human_clicked, human_clicked_events, converted, converted_events, unsubscribed, unsubscribed_events, bounced, bounced_events, dropped, dropped_events, spammed, spammed_events, failed, failed_events, undeliverable, undeliverable_events, replied, replied_events, deferred, deferred_events, reached, conversion_value,
    cast(delivered as double) / nullif(sent, 0) as delivery_rate,
    cast(opened as double) / nullif(reached, 0) as open_rate,
    cast(human_opened as double) / nullif(reached, 0) as human_open_rate,
    cast(clicked as double) / nullif(reached, 0) as click_rate,
    cast(human_clicked as double) / nullif(reached, 0) as human_click_rate,
    cast(converted as double) / nullif(reached, 0) as conversion_rate,
    cast(unsubscribed as double) / nullif(reached, 0) as unsubscribe_rate
from summed
left join control_copies using (copy_id);

create table baseline.copy_metrics_daily as
with engaged as (
    select
        metric_date,
        copy_id,
        coalesce(cast(sum(firsts) filter (counts_as = 'attempted') as bigint), 0) as attempted,
        coalesce(cast(sum(row_count) filter (counts_as = 'attempted') as bigint), 0) as attempted_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'sent') as bigint), 0) as sent,
        coalesce(cast(sum(row_count) filter (counts_as = 'sent') as bigint), 0) as sent_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'delivered') as bigint), 0) as delivered,
        coalesce(cast(sum(row_count) filter (counts_as = 'delivered') as bigint), 0) as delivered_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'opened') as bigint), 0) as opened,
        coalesce(cast(sum(row_count) filter (counts_as = 'opened') as bigint), 0) as opened_events,
        coalesce(cast(sum(first_humans) filter (counts_as = 'opened') as bigint), 0) as human_opened,
        coalesce(cast(sum(row_count) filter (counts_as = 'opened' and not is_machine) as bigint), 0) as human_opened_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'clicked') as bigint), 0) as clicked,
        coalesce(cast(sum(row_count) filter (counts_as = 'clicked') as bigint), 0) as clicked_events,
        coalesce(cast(sum(first_humans) filter (counts_as = 'clicked') as bigint), 0) as human_clicked,
        coalesce(cast(sum(row_count) filter (counts_as = 'clicked' and not is_machine) as bigint), 0) as human_clicked_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'converted') as bigint), 0) as converted,
        coalesce(cast(sum(row_count) filter (counts_as = 'converted') as bigint), 0) as converted_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'unsubscribed') as bigint), 0) as unsubscribed,
        coalesce(cast(sum(row_count) filter (counts_as = 'unsubscribed') as bigint), 0) as unsubscribed_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'bounced') as bigint), 0) as bounced,
        coalesce(cast(sum(row_count) filter (counts_as = 'bounced') as bigint), 0) as bounced_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'dropped') as bigint), 0) as dropped,
        coalesce(cast(sum(row_count) filter (counts_as = 'dropped') as bigint), 0) as dropped_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'spammed') as bigint), 0) as spammed,
        coalesce(cast(sum(row_count) filter (counts_as = 'spammed') as bigint), 0) as spammed_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'failed') as bigint), 0) as failed,
        coalesce(cast(sum(row_count) filter (counts_as = 'failed') as bigint), 0) as failed_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'undeliverable') as bigint), 0) as undeliverable,
        coalesce(cast(sum(row_count) filter (counts_as = 'undeliverable') as bigint), 0) as undeliverable_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'replied') as bigint), 0) as replied,
        coalesce(cast(sum(row_count) filter (counts_as = 'replied') as bigint), 0) as replied_events,
        coalesce(cast(sum(firsts) filter (counts_as = 'deferred') as bigint), 0) as deferred,
        coalesce(cast(sum(row_count) filter (counts_as = 'deferred') as bigint), 0) as deferred_events,
        cast(coalesce(sum(conversion_value), 0) as decimal(38, 4)) as conversion_value
    from cells
    where copy_id is not null
    group by all
),
called as (
    select metric_date, copy_id, cast(sum(api_calls) as bigint) as api_calls, cast(sum(served) as bigint) as served
    from (
        select delivery_date as metric_date, copy_id, coalesce(single_calls, 0) as api_calls, served from served
        union all
        select cast(make_timestamp(event_timestamp * 1000000) as date), copy_id, count(*), 0
        from ranked_calls
        where call_count > 1
        group by all
    )
    group by all
)
select
    metric_date,
    copy_id,
    case when owner_count = 1 then owners.template_id else owner[1] end as template_id,
    case when owner_count = 1 then owners.campaign_id else owner[2] end as campaign_id,
    control_copies.copy_id is not null as is_control,
    coalesce(api_calls, 0) as api_calls,
    coalesce(served, 0) as served,
    coalesce(attempted, 0) as attempted, coalesce(attempted_events, 0) as attempted_events,
    coalesce(sent, 0) as sent, coalesce(sent_events, 0) as sent_events,
    coalesce(delivered, 0) as delivered, coalesce(delivered_events, 0) as delivered_events,
    coalesce(opened, 0) as opened, coalesce(opened_events, 0) as opened_events,
    coalesce(human_opened, 0) as human_opened, coalesce(human_opened_events, 0) as human_opened_events,
    coalesce(clicked, 0) as clicked, coalesce(clicked_events, 0) as clicked_events,
    coalesce(human_clicked, 0) as human_clicked, coalesce(human_clicked_events, 0) as human_clicked_events,
    coalesce(converted, 0) as converted, coalesce(converted_events, 0) as converted_events,
    coalesce(unsubscribed, 0) as unsubscribed, coalesce(unsubscribed_events, 0) as unsubscribed_events,
    coalesce(bounced, 0) as bounced, coalesce(bounced_events, 0) as bounced_events,
    coalesce(dropped, 0) as dropped, coalesce(dropped_events, 0) as dropped_events,
    coalesce(spammed, 0) as spammed, coalesce(spammed_events, 0) as spammed_events,
    coalesce(failed, 0) as failed, coalesce(failed_events, 0) as failed_events,
    coalesce(undeliverable, 0) as undeliverable, coalesce(undeliverable_events, 0) as undeliverable_events,
    coalesce(replied, 0) as replied, coalesce(replied_events, 0) as replied_events,
    coalesce(deferred, 0) as deferred, coalesce(deferred_events, 0) as deferred_events,
    coalesce(conversion_value, 0) as conversion_value
from called
full join engaged using (metric_date, copy_id)
inner join owners using (copy_id)
left join metric_owners using (metric_date, copy_id)
left join control_copies using (copy_id);

create table baseline.link_clicks_daily as
select
    metric_date, copy_id, split_part(split_part(href, '?', 1), '#', 1) as href,
    count(distinct delivery_key) as clicked, count(*) as clicked_events,
    count(distinct delivery_key) filter (not is_machine) as human_clicked,
    count(*) filter (not is_machine) as human_clicked_events
from baseline.fct_engagement_events
where counts and counts_as = 'clicked' and delivery_key is not null
group by metric_date, copy_id, split_part(split_part(href, '?', 1), '#', 1);

-- step: calls
create view baseline.fct_calls as
select
    event_timestamp, user_id, campaign_id, action_id, journey_id, copy_id, calls.template_id, canonical_vars.vars,
    canonical_attrs.attrs, content_hash
from (
    select *, baseline.call_hash(journey_id, action_id, event_timestamp, user_id, copy_id) as call_hash
    from staging.justai_calls
) as calls
anti join baseline.repeated_hashes as repeated_hashes on calls.call_hash = repeated_hashes.call_hash
inner join baseline.canonical_vars as canonical_vars
    on calls.template_id = canonical_vars.template_id and calls.vars = canonical_vars.logged_vars
inner join baseline.canonical_attrs as canonical_attrs on calls.attrs = canonical_attrs.logged_attrs
union all
select
    event_timestamp, user_id, campaign_id, action_id, journey_id, copy_id, contents.template_id, contents.vars, attrs,
    content_hash
from baseline.repeated_calls
inner join baseline.contents using (content_hash);
