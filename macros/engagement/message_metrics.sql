{# The metrics of a message in Customer.io's API, each with the time at which it happened first. There are more: one by
   link, whose names have no end. #}
{% macro message_metrics() -%}
    {{ return([
        'drafted', 'attempted', 'sent', 'delivered', 'opened', 'human_opened', 'prefetch_opened', 'clicked',
        'human_clicked', 'prefetch_clicked', 'converted', 'unsubscribed', 'bounced', 'dropped', 'spammed', 'failed',
        'undeliverable', 'deferred', 'suppressed',
    ]) }}
{%- endmacro %}


{# A metric's first time (UTC). Customer.io's specification calls the values of human_ and prefetch_ metrics counts;
   those that were seen are times. A number before the year 2000 is a count, of which no time is known. #}
{% macro first_time(fields, path) -%}
    {{ json_time(fields, path, since=946684800) }}
{%- endmacro %}
