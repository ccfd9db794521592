with

calls as (

    select * from {{ ref('stg_justai__calls') }}

),

logged as (

    select distinct attrs
    from calls

),

final as (

    select
        attrs as logged_attrs,
        {{ canonical_json('attrs') }} as attrs
    from logged

)

select * from final
