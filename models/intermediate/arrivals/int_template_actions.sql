{{ config(materialized='view') }}

with

current_settings as (

    select * from {{ ref('int_current_settings') }}

),

final as (

    select
        template_id,
        campaign_id,
        role,
        action_id
    from current_settings
    where action_id is not null

)

select * from final
