{{ config(materialized='view') }}

{% set groups = [
    'int_person_requests', 'int_device_requests', 'int_object_requests', 'int_event_requests', 'int_metric_requests',
] %}

with

{% for group in groups -%}
{{ group | replace('int_', '') }} as (

    select * from {{ ref(group) }}

),

{% endfor -%}

final as (
    {% for group in groups %}
    select
        request_id,
        message_id,
        action,
        happened_ms,
        happened_at,
        happened_date,
        endpoint,
        is_event,
        person_id_type,
        person_id,
        payload,
        held_back_reason
    from {{ group | replace('int_', '') }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

select * from final
