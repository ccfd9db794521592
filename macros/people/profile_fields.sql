{# The fields of Lytics with the last time of an event, as [field, channel and metric]. Slack has no bounces: Lytics
   calls a message that failed there bounced. In-app messages have neither, so that field is null. #}
{% macro profile_times() -%}
    {{ return([
        ['cio_email_last_bounced_ts', 'email_bounced'],
        ['cio_email_last_clicked_ts', 'email_clicked'],
        ['cio_email_last_open_ts', 'email_opened'],
        ['cio_email_last_send_ts', 'email_sent'],
        ['cio_inapp_last_bounced_ts', 'in_app_bounced'],
        ['cio_inapp_last_clicked_ts', 'in_app_clicked'],
        ['cio_inapp_last_open_ts', 'in_app_opened'],
        ['cio_inapp_last_send_ts', 'in_app_sent'],
        ['cio_push_last_bounced_ts', 'push_bounced'],
        ['cio_push_last_clicked_ts', 'push_clicked'],
        ['cio_push_last_open_ts', 'push_opened'],
        ['cio_push_last_send_ts', 'push_sent'],
        ['cio_slack_last_bounced_ts', 'slack_failed'],
        ['cio_slack_last_clicked_ts', 'slack_clicked'],
        ['cio_slack_last_send_ts', 'slack_sent'],
        ['cio_sms_last_bounced_ts', 'sms_bounced'],
        ['cio_sms_last_clicked_ts', 'sms_clicked'],
        ['cio_sms_last_send_ts', 'sms_sent'],
        ['cio_whatsapp_last_bounced_ts', 'whatsapp_bounced'],
        ['cio_whatsapp_last_clicked_ts', 'whatsapp_clicked'],
        ['cio_whatsapp_last_open_ts', 'whatsapp_opened'],
        ['cio_whatsapp_last_send_ts', 'whatsapp_sent'],
        ['last_active_ts', 'active'],
    ]) }}
{%- endmacro %}


{# The same and, of what machines do too, the times by people. #}
{% macro all_profile_times() -%}
    {%- set times = [] -%}
    {%- for field, event in profile_times() -%}
        {%- do times.append([field, event]) -%}
        {%- if event == 'active' or event.endswith('_opened') or event.endswith('_clicked') -%}
            {%- do times.append(['human_' ~ field, 'human_' ~ event]) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(times) }}
{%- endmacro %}
