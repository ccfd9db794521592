-- Deliveries, versions, engagement per delivery and one daily mart, with far less work than the project does: of the JSON
-- only journey_id is read, events are not deduplicated, nothing goes by the action map or a window in time, and
-- days are the deliveries'. The floor that full chains are compared with.

-- step: deliveries
drop schema if exists chain cascade;
create schema chain;
create table chain.deliveries as
select
    journey_id,
    action_id,
    arg_max(copy_id, event_timestamp) as copy_id,
    arg_max(template_id, event_timestamp) as template_id,
    max(event_timestamp) as last_called_at,
    min(event_timestamp) as first_called_at,
    count(*) as call_count
from staging.justai_calls
group by journey_id, action_id;

-- step: versions
create table chain.versions as
with contents as (
    select copy_id, event_timestamp, max(vars) as vars
    from staging.justai_calls
    group by copy_id, event_timestamp
),
starts as (
    select * from contents
    qualify vars is distinct from lag(vars) over (partition by copy_id order by event_timestamp)
)
select *, lead(event_timestamp) over (partition by copy_id order by event_timestamp) as valid_to from starts;

-- step: engagement per delivery
create table chain.engagement as
select
    data->>'$.journey_id' as journey_id,
    min(timestamp) as first_event_at,
    count(*) filter (metric = 'sent') as sent,
    count(*) filter (metric = 'delivered') as delivered,
    count(*) filter (metric = 'opened') as opened,
    count(*) filter (metric = 'clicked') as clicked,
    count(*) filter (metric = 'converted') as converted,
    count(*) filter (metric = 'unsubscribed') as unsubscribed,
    count(*) filter (metric = 'bounced') as bounced
from staging.customerio_events
where object_type != 'webhook'
group by data->>'$.journey_id';

-- step: daily mart
create table chain.copy_metrics_daily as
select
    cast(make_timestamp(last_called_at * 1000000) as date) as delivery_date,
    copy_id,
    count(*) as served,
    count(*) filter (sent > 0) as sent,
    count(*) filter (delivered > 0) as delivered,
    count(*) filter (opened > 0) as opened,
    count(*) filter (clicked > 0) as clicked,
    count(*) filter (converted > 0) as converted,
    count(*) filter (unsubscribed > 0) as unsubscribed,
    count(*) filter (bounced > 0) as bounced
from chain.deliveries
left join chain.engagement using (journey_id)
group by all;
