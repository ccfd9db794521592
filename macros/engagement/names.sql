{# The name of a channel or metric as it is compared: ' In-App' is in_app. #}
{% macro plain_name(column) -%}
    nullif(replace(lower({{ without_spaces(column) }}), '-', '_'), '')
{%- endmacro %}


{# The channel that a plain name means: Customer.io has called sms twilio. #}
{% macro channel_of(name) -%}
    case when {{ name }} = 'twilio' then 'sms' else {{ name }} end
{%- endmacro %}


{# The name of a metric by which feeds are compared: what the webhooks call dropped is suppressed in Customer.io's
   aggregates, and which of the two the warehouse sync says is not documented. #}
{% macro metric_of_any_feed(metric) -%}
    case when {{ metric }} = 'suppressed' then 'dropped' else {{ metric }} end
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


{# Whether a channel and a metric are already what plain_name() and channel_in_name() would make of them. #}
{% macro has_plain_names(channel, metric) -%}
coalesce(
            {{ channel }} in ('email', 'push', 'sms', 'in_app', 'slack', 'whatsapp', 'webhook')
            and {{ metric }} in (
                'sent', 'delivered', 'opened', 'clicked', 'converted', 'bounced', 'dropped', 'deferred', 'failed',
                'attempted', 'drafted', 'spammed', 'unsubscribed', 'undeliverable'
            ),
            false
        )
{%- endmacro %}
