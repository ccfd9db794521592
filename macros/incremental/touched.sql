{# A CTE: the batches that some model has not read, of which a touched model takes what they brought or removed. #}
{% macro pending() -%}
pending as (

    select batch_id
    from {{ ref('int_landed_batches') }}
    where is_pending

)
{%- endmacro %}


{# A CTE: the touched events of both feeds. #}
{% macro touched_events_of_feeds() -%}
touched_events as (

    select
        event_at,
        event_date,
        delivery_id,
        journey_id
    from {{ ref('int_touched_events') }}

    union all

    select
        event_at,
        event_date,
        delivery_id,
        journey_id
    from {{ ref('int_touched_sync_events') }}

)
{%- endmacro %}


{# A CTE: templates whose settings changed. It reads the CTE pending. #}
{% macro changed_templates() -%}
changed_templates as (

    select template_id
    from {{ ref('int_settings_changes') }}
    where batch_id in (select batch_id from pending)

)
{%- endmacro %}


{# For models of messages, a CTE in an incremental run: the touched ones. #}
{% macro touched_messages() -%}
{% if is_incremental() -%}
touched as (

    select distinct
        delivery_id,
        first_event_date
    from {{ ref('int_touched_messages') }}
    where delivery_id is not null

),
{%- endif %}
{%- endmacro %}


{# What keeps only these of message_ids. #}
{% macro join_touched_messages() -%}
{% if is_incremental() -%}
inner join touched
        on
            message_ids.delivery_id = touched.delivery_id
            and message_ids.first_event_date >= touched.first_event_date
            {{- and_between('message_ids.first_event_date', 'int_touched_messages', 'first_event_date', since=true) }}
{%- endif %}
{%- endmacro %}
