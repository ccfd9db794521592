{{ config(materialized='view') }}

with

arms_daily as (

    select * from {{ ref('int_experiment_arms_daily') }}

),

templates as (

    select * from {{ ref('int_experiment_templates') }}

),

-- a journey of another campaign could not have been sent the control; a control that is a template of its own may be
-- served in a campaign of its own, so there every campaign counts
final as (

    select distinct
        arms_daily.template_id,
        arms_daily.campaign_id
    from arms_daily
    left join templates
        on arms_daily.template_id = templates.template_id
    where
        arms_daily.unit_type = 'journey'
        and (
            arms_daily.copy_id is null
            or templates.control_template_id is not null
        )

)

select * from final
