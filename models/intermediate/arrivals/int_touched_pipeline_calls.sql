{% set pending_ids = all_of([
    of_pending('message_id', ref('stg_pipelines__calls'), 'batch_id'),
    of_pending('message_id', source('pipelines', 'pipeline_calls_removed'), 'batch_id'),
]) %}
{% set changed_call_types = of_pending('call_type', ref('int_trigger_changes'), 'batch_id') %}

with

{{ pending() }},

calls as (

    select * from {{ ref('stg_pipelines__calls') }}

),

removed as (

    select * from {{ source('pipelines', 'pipeline_calls_removed') }}

),

trigger_changes as (

    select * from {{ ref('int_trigger_changes') }}

),

removed_calls as (

    select
        message_id,
        {{ source_call_millis('removed') }} as happened_ms
    from removed
    where batch_id in (select batch_id from pending)

),

changed_triggers as (

    select distinct
        call_type,
        event_name
    from trigger_changes
    where batch_id in (select batch_id from pending)

),

touched_ids as (

    select message_id
    from calls
    where
        batch_id in (select batch_id from pending)
        {{- and_pending_batch('batch_id') }}

    union

    select message_id
    from removed_calls

),

-- a row without a name is about every event that no other row names
ids_of_changed_triggers as (

    select calls.message_id
    from calls
    inner join changed_triggers
        on
            calls.call_type = changed_triggers.call_type
            {{- and_between('calls.call_type', changed_call_types, 'call_type') }}
            and (calls.event_name = changed_triggers.event_name or changed_triggers.event_name is null)

),

-- every copy of a call, because one that arrived may take the place of another, of another day
copies as (

    select
        message_id,
        happened_ms
    from calls
    where
        message_id in (select message_id from touched_ids)
        {{- and_between('message_id', pending_ids, 'message_id') }}

    union

    select
        message_id,
        happened_ms
    from calls
    where message_id in (select message_id from ids_of_changed_triggers)

    union

    select
        message_id,
        happened_ms
    from removed_calls

),

timed as (

    select
        message_id,
        {{ millis_to_timestamp('happened_ms') }} as happened_at
    from copies

),

final as (

    select distinct
        message_id,
        happened_at,
        cast(happened_at as date) as happened_date
    from timed

)

select * from final
