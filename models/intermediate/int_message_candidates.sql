with

messages as (

    select * from {{ ref('int_messages') }}

),

message_ids as (

    select * from {{ ref('int_message_ids') }}

),

deliveries as (

    select * from {{ ref('fct_deliveries') }}

),

-- a call without journey_id or action_id is a delivery that can never match
journeys as (

    select
        message_ids.delivery_id,
        message_ids.journey_id,
        message_ids.action_id,
        message_ids.parent_action_id,
        message_ids.campaign_id,
        message_ids.first_event_order,
        messages.first_event_at,
        deliveries.delivery_key,
        deliveries.action_id as call_action_id,
        deliveries.template_id,
        deliveries.copy_id,
        deliveries.first_called_at,
        deliveries.last_called_at
    from message_ids
    inner join messages
        on message_ids.delivery_id = messages.delivery_id
    inner join deliveries
        on message_ids.journey_id = deliveries.journey_id
    where deliveries.action_id is not null

),

final as (

    select
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        first_event_order,
        first_event_at,
        delivery_key,
        call_action_id,
        template_id,
        copy_id,
        first_called_at,
        last_called_at,
        last_called_at >= {{ dbt.dateadd('day', -1 * var('match_lookback_days'), 'first_event_at') }}
        and last_called_at <= {{ dbt.dateadd('day', var('match_skew_days'), 'first_event_at') }} as is_in_range
    from journeys

)

select * from final
