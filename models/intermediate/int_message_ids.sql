with

events as (

    select * from {{ ref('int_distinct_events') }}

),

final as (

    select
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        min({{ ordered_key('event_timestamp', 'event_id') }}) as first_event_order
    from events
    where is_about_message
    group by delivery_id, journey_id, action_id, parent_action_id, campaign_id

)

select * from final
