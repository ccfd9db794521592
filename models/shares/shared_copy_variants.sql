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
        change_type,
        valid_from,
        valid_to,
        is_current
    from variants

)

select * from final
