{# When a source call happened, in milliseconds: as the specification corrects the clock of the device, whose readings
   may be wrong while the time between two of them is not. #}
{% macro source_call_millis(relation) -%}
    coalesce(
        {{ relation }}.timestamp,
        {{ relation }}.received_at - ({{ relation }}.sent_at - {{ relation }}.original_timestamp),
        {{ relation }}.original_timestamp,
        {{ relation }}.sent_at,
        {{ relation }}.received_at
    )
{%- endmacro %}
