{{ config(materialized='view') }}

with

variants as (

    select * from {{ ref('dim_copy_variants') }}

),

settings as (

    select * from {{ ref('template_settings') }}

),

template_actions as (

    select * from {{ ref('template_actions') }}

),

actions as (

    select * from {{ ref('dim_campaign_actions') }}

),

-- also a template that its copies have left, and one of which only the control arm was seen
known as (

    select template_id
    from variants

    union

    select template_id
    from settings

    union

    select template_id
    from template_actions

),

-- a template that messages of several names send has no name of its own
action_names as (

    select
        template_actions.template_id,
        min(actions.name) as name
    from template_actions
    inner join actions
        on
            template_actions.action_id = actions.action_id
            and coalesce(template_actions.campaign_id, actions.campaign_id) = actions.campaign_id
    where template_actions.role = 'message'
    group by template_actions.template_id
    having count(distinct actions.name) = 1

),

final as (

    select
        known.template_id,
        coalesce(settings.name, action_names.name, known.template_id) as name,
        settings.channel,
        settings.key_metric
    from known
    left join settings
        on known.template_id = settings.template_id
    left join action_names
        on known.template_id = action_names.template_id

)

select * from final
