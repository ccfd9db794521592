{# Events of webhook actions, events about a person and events without a message are not engagement with a message. #}
{% macro is_about_message(channel, delivery_id) -%}
    (coalesce({{ channel }} not in ('webhook', 'customer'), false) and {{ delivery_id }} is not null)
{%- endmacro %}
