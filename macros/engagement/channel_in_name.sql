{# The channel that names like 'email_opened' begin with, null when they begin with none. #}
{% macro channel_in_name(name) -%}
    {%- set channels = [
        'email', 'push', 'sms', 'twilio', 'in_app', 'slack', 'whatsapp', 'webhook', 'customer', 'urban_airship',
    ] -%}
        case
            {%- for channel in channels %}
            when {{ name }} like '{{ channel | replace("_", "^_") }}^_%' escape '^' then '{{ channel }}'
            {%- endfor %}
        end
{%- endmacro %}
