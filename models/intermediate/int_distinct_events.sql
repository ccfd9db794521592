{% set payload = [
    'event_timestamp', 'channel', 'metric', 'delivery_id', 'journey_id', 'action_id', 'parent_action_id', 'campaign_id',
    'broadcast_id', 'trigger_id', 'newsletter_id', 'content_id', 'transactional_message_id', 'trigger_event_id', 'user_id',
    'email', 'cio_id', 'email_address', 'recipient', 'recipients', 'subject', 'content', 'headers', 'failure_message',
    'href', 'link_id', 'tracked_response', 'inbound_event_id', 'inbound_to', 'is_proxied', 'is_prefetched',
    'is_synthetic', 'is_machine_click',
] %}

with

events as (

    select * from {{ ref('stg_customerio__events') }}

),

-- apart from events, so that finding the repeated ones parses no JSON
event_ids as (

    select
        event_id,
        cast(event_at as date) as event_date
    from {{ ref('stg_customerio__events') }}

),

repeated as (

    select
        event_id,
        event_date
    from event_ids
    group by event_id, event_date
    having count(*) > 1

),

-- hashing is dear and only an event that came more than once needs it
hashed as (

    select
        events.event_id,
        cast(events.event_at as date) as event_date,
        events.event_timestamp,
        events.event_at,
        events.channel,
        events.metric,
        events.delivery_id,
        events.journey_id,
        events.action_id,
        events.parent_action_id,
        events.campaign_id,
        events.is_prefetched,
        events.is_synthetic,
        events.is_machine_click,
        case when repeated.event_id is not null then {{ surrogate_key(payload) }} end as payload_hash
    from events
    left join repeated
        on
            events.event_id = repeated.event_id
            and cast(events.event_at as date) = repeated.event_date

),

ranked as (

    select
        event_id,
        event_date,
        event_timestamp,
        event_at,
        channel,
        metric,
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        is_prefetched,
        is_synthetic,
        is_machine_click,
        min(payload_hash) over (partition by event_id, event_date)
        != max(payload_hash) over (partition by event_id, event_date) as has_conflict,
        row_number() over (
            partition by event_id, event_date
            order by event_timestamp desc, payload_hash desc
        ) as recency
    from hashed
    where payload_hash is not null

),

distinct_events as (

    select
        event_id,
        event_date,
        event_timestamp,
        event_at,
        channel,
        metric,
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        is_prefetched,
        is_synthetic,
        is_machine_click,
        false as has_conflict
    from hashed
    where payload_hash is null

    union all

    select
        event_id,
        event_date,
        event_timestamp,
        event_at,
        channel,
        metric,
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        is_prefetched,
        is_synthetic,
        is_machine_click,
        has_conflict
    from ranked
    where recency = 1

),

final as (

    select
        event_id,
        event_date,
        event_timestamp,
        event_at,
        channel,
        metric,
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        is_prefetched,
        is_synthetic,
        is_machine_click,
        has_conflict,
        coalesce(channel not in ('webhook', 'customer'), false) and delivery_id is not null as is_about_message
    from distinct_events

)

select * from final
