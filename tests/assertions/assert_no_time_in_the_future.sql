-- Times after the landing of their file mean that a clock or a unit is wrong. They are kept: whether a line is rejected
-- must not depend on the day of landing.
{{ config(severity='warn') }}

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

final as (

    select
        source_file,
        source_line,
        called_at as happened_at,
        loaded_at
    from calls
    where
        called_at > {{ dbt.dateadd('day', 1, 'loaded_at') }}
        {{ and_new_batch('batch_id') }}

    union all

    select
        source_file,
        source_line,
        called_at as happened_at,
        loaded_at
    from sends
    where
        called_at > {{ dbt.dateadd('day', 1, 'loaded_at') }}
        {{ and_new_batch('batch_id') }}

    union all

    select
        source_file,
        source_line,
        event_at as happened_at,
        loaded_at
    from events
    where
        event_at > {{ dbt.dateadd('day', 1, 'loaded_at') }}
        {{ and_new_batch('batch_id') }}

)

select * from final
