{# The metrics with columns in the marts, in the order of the columns. Each one but the human_ pair is a value of
   counts_as in the seed engagement_metrics. #}
{% macro engagement_metrics() -%}
    {{ return([
        'attempted', 'sent', 'delivered', 'opened', 'human_opened', 'clicked', 'human_clicked', 'converted',
        'unsubscribed', 'bounced', 'dropped', 'spammed', 'failed', 'undeliverable', 'replied', 'deferred',
    ]) }}
{%- endmacro %}


{# Whether an event of fct_engagement_events counts for the metric. #}
{% macro is_metric(metric) -%}
    {%- if metric.startswith('human_') -%}
        counts_as = '{{ metric[6:] }}' and not is_machine
    {%- else -%}
        counts_as = '{{ metric }}'
    {%- endif -%}
{%- endmacro %}


{# The events of one message as columns: per metric their number and the date of the first. #}
{% macro outcome_columns() -%}
    {%- for metric in engagement_metrics() %}
        cast(count(case when {{ is_metric(metric) }} then 1 end) as bigint) as {{ metric }}_events,
        min(case when {{ is_metric(metric) }} then metric_date end) as first_{{ metric }}_date,
    {%- endfor %}
        {{ dbt.bool_or(is_reached()) }} as is_reached
{%- endmacro %}


{# Whether an event puts its message into the denominator of the rates: Customer.io reports no `delivered` for in_app
   and slack. #}
{% macro is_reached() -%}
    (counts_as = 'delivered' and channel not in ('in_app', 'slack'))
            or (counts_as = 'sent' and channel in ('in_app', 'slack'))
{%- endmacro %}


{# Sums over messages with outcome_columns(): per metric the messages that had it and its events. #}
{% macro outcome_sums() -%}
    {%- for metric in engagement_metrics() %}
        cast(count(first_{{ metric }}_date) as bigint) as {{ metric }},
        cast(coalesce(sum({{ metric }}_events), 0) as bigint) as {{ metric }}_events,
    {%- endfor %}
        cast(count(case when is_reached then 1 end) as bigint) as reached
{%- endmacro %}


{# The rates of a cohort; null where the denominator is zero. #}
{% macro outcome_rates() -%}
    {{ rate('delivered', 'sent') }} as delivery_rate,
        {{ rate('opened', 'reached') }} as open_rate,
        {{ rate('human_opened', 'reached') }} as human_open_rate,
        {{ rate('clicked', 'reached') }} as click_rate,
        {{ rate('human_clicked', 'reached') }} as human_click_rate,
        {{ rate('converted', 'reached') }} as conversion_rate,
        {{ rate('unsubscribed', 'reached') }} as unsubscribe_rate
{%- endmacro %}

{% macro rate(numerator, denominator) -%}
    cast({{ numerator }} as double) / nullif({{ denominator }}, 0)
{%- endmacro %}
