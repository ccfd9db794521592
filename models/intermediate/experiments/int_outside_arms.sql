{{ config(materialized='view') }}

with

templates as (

    select * from {{ ref('int_experiment_templates') }}

),

final as (

    select
        template_id,
        template_id as arm_template_id,
        false as is_control
    from templates
    where control_split = 'outside'

    union all

    select
        template_id,
        control_template_id as arm_template_id,
        true as is_control
    from templates
    where
        control_split = 'outside'
        and control_template_id is not null
        and control_template_id != template_id

)

select * from final
