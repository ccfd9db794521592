{# The campaign must be the same where the map gives one and the event has one. #}
{% macro campaign_agrees(mapped, logged) -%}
    ({{ mapped }} is null or {{ logged }} is null or {{ mapped }} = {{ logged }})
{%- endmacro %}
