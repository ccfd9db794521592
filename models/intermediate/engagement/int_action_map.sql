{# A view, because a table could lag behind the log of settings when only some models are built. #}
{{ config(materialized='view') }}

with

template_actions as (

    select * from {{ ref('int_template_actions') }}

),

messages as (

    select
        template_id,
        campaign_id,
        action_id
    from template_actions
    where role = 'message'

),

webhooks as (

    select
        template_id,
        campaign_id,
        action_id
    from template_actions
    where role = 'webhook'

),

-- a template without webhook rows accepts any logged action; its webhook_action_id is null
final as (

    select
        messages.template_id,
        messages.action_id as message_action_id,
        messages.campaign_id as message_campaign_id,
        webhooks.action_id as webhook_action_id,
        webhooks.campaign_id as webhook_campaign_id
    from messages
    left join webhooks
        on messages.template_id = webhooks.template_id

)

select * from final
