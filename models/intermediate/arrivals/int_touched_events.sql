{% set pending_event_ids = all_of([
    of_pending('event_id', source('customerio', 'customerio_events')),
    of_pending('event_id', source('customerio', 'customerio_events_removed'), 'batch_id'),
]) %}

with

{{ pending() }},

removed_events as (

    select * from {{ source('customerio', 'customerio_events_removed') }}

),

touched_ids as (

    select event_id
    from {{ source('customerio', 'customerio_events') }}
    where
        _batch_id in (select batch_id from pending)
        {{- and_pending_batch('_batch_id') }}

    union

    select event_id
    from removed_events
    where batch_id in (select batch_id from pending)

),

lines as (

    select * from {{ source('customerio', 'customerio_events') }}
    where
        event_id in (select event_id from touched_ids)
        {{- and_between('event_id', pending_event_ids, 'event_id') }}

),

{{ events_of_lines('lines', 'events', with_payload=false) }},

-- every payload of an event: a later payload may move the event from one message to another
payloads as (

    select
        event_id,
        event_timestamp,
        event_at,
        case when {{ is_about_message('channel', 'delivery_id') }} then delivery_id end as delivery_id,
        journey_id
    from events

    union all

    select
        event_id,
        removed_events.timestamp as event_timestamp,
        {{ unix_to_timestamp('removed_events.timestamp') }} as event_at,
        delivery_id,
        journey_id
    from removed_events
    where batch_id in (select batch_id from pending)

),

final as (

    select distinct
        event_id,
        event_timestamp,
        event_at,
        cast(event_at as date) as event_date,
        delivery_id,
        journey_id
    from payloads

)

select * from final
