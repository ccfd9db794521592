{{ config(materialized='view') }}

with

variants as (

    select * from {{ ref('dim_copy_variants') }}

),

final as (

    select
        version_key,
        copy_id,
        version_number,
        template_id,
        content_hash,
        subject,
        preheader,
        body,
        vars,
        change_type,
        valid_from
    from variants
    where is_current

)

select * from final
