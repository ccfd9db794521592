{{ config(materialized='view') }}

with

runs as (

    select * from {{ ref('int_content_runs') }}

),

final as (

    select distinct
        content_hash,
        template_id,
        vars
    from runs

)

select * from final
