with

deliveries as (

    select * from {{ ref('fct_deliveries') }}

),

template_settings as (

    select * from {{ ref('template_settings') }}

),

template_actions as (

    select * from {{ ref('template_actions') }}

),

roles as (

    select
        template_id,
        {{ dbt.bool_or("role = 'webhook'") }} as has_webhook_action,
        {{ dbt.bool_or("role = 'message'") }} as has_message_action
    from template_actions
    group by template_id

),

templates as (

    select
        template_id,
        count(*) as delivery_count
    from deliveries
    group by template_id

),

final as (

    select
        templates.template_id,
        templates.delivery_count,
        template_settings.template_id is not null as has_settings,
        coalesce(roles.has_webhook_action, false) as has_webhook_action,
        coalesce(roles.has_message_action, false) as has_message_action
    from templates
    left join template_settings
        on templates.template_id = template_settings.template_id
    left join roles
        on templates.template_id = roles.template_id

)

select * from final
