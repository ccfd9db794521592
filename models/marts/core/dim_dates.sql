{{ config(materialized='view') }}

with

-- a hundred years, the span from earliest_event_at to latest_event_at; generated_number begins with 1
numbers as (

    {{ dbt.generate_series(36525) }}

),

final as (

    select
        cast(
            {{ dbt.dateadd(
                'day', 'cast(generated_number as int) - 1', date_of_parts(var('earliest_event_at'))
            ) }} as date
        ) as calendar_date
    from numbers

)

select * from final
