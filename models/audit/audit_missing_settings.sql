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

served as (

    select
        template_id,
        count(*) as delivery_count
    from deliveries
    group by template_id

),

served_copies as (

    select distinct copy_id
    from deliveries

),

templates as (

    select template_id
    from served

    union

    select template_id
    from template_settings

    union

    select template_id
    from template_actions

),

final as (

    select
        templates.template_id,
        coalesce(served.delivery_count, 0) as delivery_count,
        template_settings.template_id is not null as has_settings,
        coalesce(roles.has_webhook_action, false) as has_webhook_action,
        coalesce(roles.has_message_action, false) as has_message_action,
        served.template_id is null
        or (
            (template_settings.control_copy_id is null or served_copies.copy_id is not null)
            and (template_settings.control_template_id is null or served_controls.template_id is not null)
        ) as is_control_served
    from templates
    left join served
        on templates.template_id = served.template_id
    left join template_settings
        on templates.template_id = template_settings.template_id
    left join roles
        on templates.template_id = roles.template_id
    left join served_copies
        on lower(template_settings.control_copy_id) = served_copies.copy_id
    left join served as served_controls
        on template_settings.control_template_id = served_controls.template_id

)

select * from final
