with

actions as (

    select
        messages.action_id as message_action_id,
        webhooks.action_id as webhook_action_id
    from {{ source('landing', 'template_actions') }} as messages
    inner join {{ source('landing', 'template_actions') }} as webhooks
        on
            messages.template_id = webhooks.template_id
            and webhooks.role = 'webhook'
    where messages.role = 'message'

)

select
    events.*,
    deliveries.delivery_key,
    deliveries.copy_id,
    cast(deliveries.called_at as date) as delivery_date
from {{ ref('events') }} as events
left join actions
    on events.action_id = actions.message_action_id
left join {{ ref('deliveries') }} as deliveries
    on
        events.journey_id = deliveries.journey_id
        and coalesce(actions.webhook_action_id, events.action_id) = deliveries.action_id
where events.channel != 'webhook'
