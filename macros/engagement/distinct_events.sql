{# CTEs that turn the landed lines in the CTE `landed` into one row per event, of the columns of int_distinct_events. That
   model is a view over all lines; a model that needs the events of few messages filters `landed` first, because no engine
   moves such a filter below the joins. #}
{% macro distinct_events(name) -%}
{{ latest_lines() }},

{{ events_of_lines('latest_lines', 'latest_events', with_payload=false) }},

{{ name }} as (

    select
        latest_events.event_id,
        cast(latest_events.event_at as date) as event_date,
        latest_events.event_timestamp,
        latest_events.event_at,
        latest_events.channel,
        latest_events.metric,
        latest_events.delivery_id,
        latest_events.journey_id,
        latest_events.action_id,
        latest_events.parent_action_id,
        latest_events.campaign_id,
        latest_events.user_id,
        case when latest_events.metric = 'clicked' then latest_events.href end as href,
        latest_events.failure_message,
        latest_events.conversion_value,
        latest_events.is_prefetched,
        latest_events.is_synthetic,
        latest_events.is_machine_click,
        {{ is_about_message('latest_events.channel', 'latest_events.delivery_id') }} as is_about_message,
        latest_events.source_file,
        latest_events.source_line
    from latest_events

)
{%- endmacro %}


{# CTEs that leave out of `landed` the lines that another line of the same event replaces, and the lines that landed since
   the run began: the next run reads those, with all that they touch. `latest_lines` has the columns of `landed`. #}
{% macro latest_lines() -%}
replaced_lines as (

    select
        source_file,
        source_line
    from {{ ref('int_repeated_events') }}
    where not is_latest

),

{{ known_lines() }},

latest_lines as (

    select known_lines.*
    from known_lines
    left join replaced_lines
        on
            known_lines._file = replaced_lines.source_file
            and known_lines._line = replaced_lines.source_line
    where replaced_lines.source_line is null

)
{%- endmacro %}


{# CTEs that leave out of `landed` the lines that landed since the run began. #}
{% macro known_lines() -%}
newer_batches as (

    select batch_id
    from {{ source('justai', 'landed_batches') }}
    where batch_id not in (select batch_id from {{ ref('int_landed_batches') }})

),

known_lines as (

    select landed.*
    from landed
    left join newer_batches
        on landed._batch_id = newer_batches.batch_id
    where newer_batches.batch_id is null

)
{%- endmacro %}
