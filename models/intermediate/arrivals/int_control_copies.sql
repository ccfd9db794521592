{{ config(materialized='view') }}

with

current_settings as (

    select * from {{ ref('int_current_settings') }}

),

-- several templates may name one copy
final as (

    select distinct control_copy_id as copy_id
    from current_settings
    where control_copy_id is not null

)

select * from final
