{{ config(materialized='view') }}

with

current_settings as (

    select * from {{ ref('int_current_settings') }}

),

final as (

    select
        template_id,
        control_template_id
    from current_settings
    where control_template_id is not null

)

select * from final
