with

canonical_vars as (

    select * from {{ ref('int_canonical_vars') }}

),

final as (

    select distinct
        content_hash,
        template_id,
        vars
    from canonical_vars

)

select * from final
