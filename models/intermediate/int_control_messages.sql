with

message_ids as (

    select * from {{ ref('int_message_ids') }}

),

matches as (

    select * from {{ ref('int_message_matches') }}

),

template_actions as (

    select * from {{ ref('template_actions') }}

),

controls as (

    select
        message_ids.delivery_id,
        template_actions.template_id,
        row_number() over (
            partition by message_ids.delivery_id
            order by message_ids.first_event_order, template_actions.template_id
        ) as preference
    from message_ids
    inner join template_actions
        on
            message_ids.action_id = template_actions.action_id
            and template_actions.role = 'control'
            and {{ campaign_agrees('template_actions.campaign_id', 'message_ids.campaign_id') }}
    left join matches
        on message_ids.delivery_id = matches.delivery_id
    where matches.delivery_id is null

),

final as (

    select
        delivery_id,
        template_id as control_template_id
    from controls
    where preference = 1

)

select * from final
