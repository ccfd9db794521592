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

sends as (

    select * from {{ ref('stg_justai__sends') }}

),

events as (

    select * from {{ ref('stg_customerio__events') }}

),

arrivals as (

    select
        'justai_calls' as dataset,
        cast(loaded_at as date) as landed_date,
        {{ timestamp_to_unix('loaded_at') }} - event_timestamp as lag_seconds
    from calls

    union all

    select
        'justai_sends' as dataset,
        cast(loaded_at as date) as landed_date,
        {{ timestamp_to_unix('loaded_at') }} - event_timestamp as lag_seconds
    from sends

    union all

    select
        'customerio_events' as dataset,
        cast(loaded_at as date) as landed_date,
        {{ timestamp_to_unix('loaded_at') }} - event_timestamp as lag_seconds
    from events

),

counted as (

    select
        dataset,
        landed_date,
        case
            {%- for bucket in buckets %}
            when lag_seconds < {{ bucket.hours }} * 3600 then {{ loop.index }}
            {%- endfor %}
            else {{ buckets | length + 1 }}
        end as bucket_number,
        count(*) as row_count,
        count(case when lag_seconds >= 168 * 3600 then 1 end) as late_count
    from arrivals
    group by dataset, landed_date, bucket_number

),

final as (

    select
        dataset,
        landed_date,
        landed_date = min(landed_date) over (partition by dataset) as is_first_day,
        bucket_number,
        case bucket_number
            {%- for bucket in buckets %}
            when {{ loop.index }} then '{{ bucket.name }}'
            {%- endfor %}
            else 'over 30 days'
        end as arrival_lag,
        row_count,
        cast(row_count as double) / sum(row_count) over (partition by dataset, landed_date) as row_share,
        cast(sum(late_count) over (partition by dataset, landed_date) as double)
        / sum(row_count) over (partition by dataset, landed_date) as late_share
    from counted

)

select * from final
