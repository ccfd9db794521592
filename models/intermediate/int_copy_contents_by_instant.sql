with

calls as (

    select * from {{ ref('int_distinct_calls') }}

),

final as (

    select
        copy_id,
        event_timestamp,
        max(content_hash) as content_hash,
        cast(count(distinct content_hash) as {{ dbt.type_bigint() }}) as content_count
    from calls
    group by copy_id, event_timestamp

)

select * from final
