{{ config(materialized='view') }}

with

calls as (

    select * from {{ ref('int_pipeline_calls') }}

),

triggers as (

    select * from {{ ref('int_current_triggers') }}

),

-- a trigger that is off still takes its event
taken_events as (

    select distinct
        call_type,
        event_name
    from triggers
    where event_name is not null

),

named as (

    select
        calls.message_id,
        calls.call_type,
        calls.event_name,
        taken_events.event_name as taken_event
    from calls
    left join taken_events
        on
            calls.call_type = taken_events.call_type
            and calls.event_name = taken_events.event_name

),

matched as (

    select
        named.message_id,
        triggers.action
    from named
    inner join triggers
        on
            named.call_type = triggers.call_type
            and coalesce(named.taken_event, '') = coalesce(triggers.event_name, '')
    where triggers.is_enabled

),

final as (

    select
        {{ surrogate_key(['calls.message_id', 'matched.action']) }} as request_id,
        calls.message_id,
        matched.action,
        calls.happened_ms,
        calls.happened_at,
        calls.happened_date,
        {{ unless_blank('calls.user_id') }} as user_id,
        {{ unless_blank('calls.anonymous_id') }} as anonymous_id,
        {{ unless_blank('calls.previous_id') }} as previous_id,
        {{ unless_blank('calls.group_id') }} as group_id,
        {{ unless_blank('calls.event_name') }} as event_name,
        {{ unless_blank('calls.page_name') }} as page_name,
        cast(calls.properties as {{ dbt.type_string() }}) as properties,
        cast(calls.traits as {{ dbt.type_string() }}) as traits,
        cast(calls.context as {{ dbt.type_string() }}) as context,
        coalesce(
            {{ json_member('calls.integrations', 'Customer.io') }},
            {{ json_member('calls.integrations', 'All') }},
            'true'
        ) = 'false' as is_switched_off,
        {{ is_pseudonym('calls.user_id') }}
        or {{ is_pseudonym('calls.previous_id') }}
        or {{ is_pseudonym('calls.anonymous_id') }} as is_forgotten
    from calls
    inner join matched
        on calls.message_id = matched.message_id

)

select * from final
