{{ config(materialized='view') }}

with

arms_daily as (

    select * from {{ ref('int_experiment_arms_daily') }}

),

templates as (

    select * from {{ ref('int_experiment_templates') }}

),

campaigns as (

    select
        template_id,
        campaign_id,
        max(case when copy_id is null then 1 else 0 end) as has_control,
        max(case when copy_id is not null then 1 else 0 end) as has_copy
    from arms_daily
    where unit_type = 'journey'
    group by template_id, campaign_id

),

totals as (

    select
        template_id,
        max(has_copy) as has_copy,
        max(has_control * has_copy) as has_both
    from campaigns
    group by template_id

),

-- a journey of another campaign could not have been sent the control; a control that is a template of its own may be
-- served in a campaign of its own, so there every campaign counts. Without a campaign that has both arms, copies stand
-- alone: a template that no mart shows would not say that its control is missing
final as (

    select
        campaigns.template_id,
        campaigns.campaign_id
    from campaigns
    inner join totals
        on campaigns.template_id = totals.template_id
    left join templates
        on campaigns.template_id = templates.template_id
    where
        templates.control_template_id is not null
        or case
            when totals.has_both = 1 or totals.has_copy = 0 then campaigns.has_control
            else campaigns.has_copy
        end = 1

)

select * from final
