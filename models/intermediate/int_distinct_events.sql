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

hashed as (

    select
        event_id,
        cast(event_at as date) as event_date,
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
        -- hashing is dear and only an event that came more than once needs it
        case
            when count(*) over (partition by event_id, cast(event_at as date)) > 1 then {{ surrogate_key(payload) }}
        end as payload_hash
    from events

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
        min(payload_hash) over (partition by event_id, event_date) as least_hash,
        max(payload_hash) over (partition by event_id, event_date) as greatest_hash,
        row_number() over (
            partition by event_id, event_date
            order by event_timestamp desc, payload_hash desc
        ) as recency
    from hashed

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
        coalesce(least_hash != greatest_hash, false) as has_conflict,
        coalesce(channel not in ('webhook', 'customer'), false) and delivery_id is not null as is_about_message
    from ranked
    where recency = 1

)

select * from final
