{# A view, because a table could lag behind the log when only some models are built. #}
{{ config(materialized='view') }}

with

changes as (

    select * from {{ ref('int_trigger_changes') }}

),

ranked as (

    select
        action,
        call_type,
        event_name,
        is_enabled,
        row_number() over (partition by action, call_type, event_name order by change_number desc) as recency
    from changes

),

-- a row that has gone from the seed is logged without a value
final as (

    select
        action,
        call_type,
        event_name,
        is_enabled
    from ranked
    where
        recency = 1
        and is_enabled is not null

)

select * from final
