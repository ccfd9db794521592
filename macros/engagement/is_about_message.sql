{# Events of webhook actions and of persons are no engagement with a message, nor is what names no message. #}
{% macro is_about_message(channel, delivery_id) -%}
    (coalesce({{ channel }} not in ('webhook', 'customer'), false) and {{ delivery_id }} is not null)
{%- endmacro %}
