{% set buckets = [
    {'name': 'under 1 hour', 'hours': 1},
    {'name': '1 to 6 hours', 'hours': 6},
    {'name': '6 to 24 hours', 'hours': 24},
    {'name': '1 to 2 days', 'hours': 48},
    {'name': '2 to 7 days', 'hours': 168},
    {'name': '7 to 30 days', 'hours': 720},
] %}

with

calls as (

    select * from {{ ref('stg_justai__calls') }}

),

events as (

    select * from {{ ref('stg_customerio__events') }}

),

arrivals as (

    select
        'justai_calls' as dataset,
        loaded_at,
        {{ dbt.datediff('called_at', 'loaded_at', 'hour') }} as lag_hours
    from calls

    union all

    select
        'customerio_events' as dataset,
        loaded_at,
        {{ dbt.datediff('event_at', 'loaded_at', 'hour') }} as lag_hours
    from events

),

-- the first landing of a dataset brings its whole past, so its lag says nothing
first_landings as (

    select
        dataset,
        min(loaded_at) as first_loaded_at
    from arrivals
    group by dataset

),

bucketed as (

    select
        arrivals.dataset,
        cast(arrivals.loaded_at as date) = cast(first_landings.first_loaded_at as date) as is_first_day,
        case
            {%- for bucket in buckets %}
            when arrivals.lag_hours < {{ bucket.hours }} then {{ loop.index }}
            {%- endfor %}
            else {{ buckets | length + 1 }}
        end as bucket_number
    from arrivals
    inner join first_landings
        on arrivals.dataset = first_landings.dataset

),

counted as (

    select
        dataset,
        is_first_day,
        bucket_number,
        count(*) as row_count
    from bucketed
    group by dataset, is_first_day, bucket_number

),

final as (

    select
        dataset,
        is_first_day,
        bucket_number,
        case bucket_number
            {%- for bucket in buckets %}
            when {{ loop.index }} then '{{ bucket.name }}'
            {%- endfor %}
            else 'over 30 days'
        end as arrival_lag,
        row_count,
        cast(row_count as double) / sum(row_count) over (partition by dataset, is_first_day) as row_share
    from counted

)

select * from final
