{# Only templates that settings name: no other one is compared by segment. #}
with

{{ pending() }},

touched_calls as (

    select * from {{ ref('int_touched_calls') }}

),

touched_messages as (

    select * from {{ ref('int_touched_messages') }}

),

touched_sends as (

    select * from {{ ref('int_touched_sends') }}

),

removed_calls as (

    select * from {{ source('justai', 'justai_calls_removed') }}

),

removed_sends as (

    select * from {{ source('justai', 'justai_sends_removed') }}

),

settings_changes as (

    select * from {{ ref('int_settings_changes') }}

),

journeys as (

    select distinct journey_id
    from touched_messages
    where journey_id is not null

),

-- the template of a call that is gone, or whose words are others now, is not known any more
gone as (

    select 'call' as what
    from removed_calls
    where batch_id in (select batch_id from pending)

    union

    select 'send' as what
    from removed_sends
    where batch_id in (select batch_id from pending)

    union

    select 'words' as what
    from touched_sends

),

templates as (

    select template_id
    from {{ ref('int_distinct_calls') }}
    where
        journey_id in (select journey_id from journeys)
        {{- and_between('journey_id', 'int_touched_messages', 'journey_id') }}

    union

    select template_id
    from {{ ref('int_distinct_calls') }}
    where
        journey_id is null
        and event_timestamp in (select event_timestamp from touched_calls)
        {{- and_between('event_timestamp', 'int_touched_calls', 'event_timestamp') }}

    union

    select template_id
    from settings_changes
    where batch_id in (select batch_id from pending)

    union

    select settings_changes.template_id
    from settings_changes
    cross join gone

),

final as (

    select distinct template_id
    from settings_changes
    where template_id in (select template_id from templates)

)

select * from final
