-- R3: the versions of a copy follow each other without gap or overlap, and consecutive versions differ in content.
with

variants as (

    select * from {{ ref('dim_copy_variants') }}

),

neighbours as (

    select
        copy_id,
        version_number,
        valid_from,
        valid_to,
        is_current,
        content_hash,
        lead(valid_from) over (partition by copy_id order by version_number) as next_from,
        lead(content_hash) over (partition by copy_id order by version_number) as next_hash
    from variants

),

final as (

    select
        copy_id,
        version_number
    from neighbours
    where
        valid_to is distinct from next_from
        or valid_to <= valid_from
        or is_current != (valid_to is null)
        or content_hash = next_hash

)

select * from final
