{# The name of a channel or metric as it is compared: ' In-App' is in_app. #}
{% macro plain_name(column) -%}
    nullif(replace(lower(trim({{ column }})), '-', '_'), '')
{%- endmacro %}


{# The channel with which a name such as 'email_opened' begins, null if it begins with none. #}
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
