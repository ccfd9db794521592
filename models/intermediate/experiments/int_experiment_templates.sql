{{ config(materialized='view') }}

with

current_settings as (

    select * from {{ ref('int_current_settings') }}

),

settings as (

    select
        template_id,
        max(control_copy_id) as control_copy_id,
        max(control_template_id) as control_template_id,
        max(key_metric) as key_metric,
        max(min_sends) as min_sends,
        max(control_share) as control_share,
        {{ dbt.bool_or("coalesce(role = 'control', false)") }} as has_control_action
    from current_settings
    group by template_id

),

-- a control that JustAI serves is the better one: the same split gives both arms
final as (

    select
        template_id,
        case
            when control_copy_id is not null then 'inside'
            when control_template_id is not null or has_control_action then 'outside'
        end as control_split,
        control_copy_id,
        case when control_copy_id is null then control_template_id end as control_template_id,
        key_metric as named_metric,
        {{ compared_metric('key_metric') }} as key_metric,
        coalesce(min_sends, 1000) as min_sends,
        control_share
    from settings

)

select * from final
