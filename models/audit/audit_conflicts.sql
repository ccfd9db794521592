with

runs as (

    select * from {{ ref('int_content_runs') }}

),

repeated_events as (

    select * from {{ ref('int_repeated_events') }}

),

days_of_event_ids as (

    select
        event_id,
        min(event_date) as first_date
    from repeated_events
    where is_on_several_days
    group by event_id

),

contents as (

    select distinct
        'contents_at_one_instant' as conflict,
        copy_id as conflict_id,
        {{ unix_to_timestamp('starts_at') }} as happened_at,
        cast({{ unix_to_timestamp('starts_at') }} as date) as conflict_date
    from runs
    where is_outvoted

),

payloads as (

    select
        'payloads_of_one_event' as conflict,
        event_id as conflict_id,
        event_date as conflict_date
    from repeated_events
    where
        is_latest
        and has_conflict

),

event_ids as (

    select
        'days_of_one_event_id' as conflict,
        event_id as conflict_id,
        first_date as conflict_date
    from days_of_event_ids

),

conflicts as (

    select
        conflict,
        conflict_id,
        conflict_date
    from contents
    union all
    select * from payloads
    union all
    select * from event_ids

),

final as (

    select
        conflict,
        conflict_date,
        count(*) as conflict_count,
        min(conflict_id) as example_id
    from conflicts
    group by conflict, conflict_date

)

select * from final
