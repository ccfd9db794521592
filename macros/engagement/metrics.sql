{# The metrics that have columns in the marts, in that order. All but the two human_ ones are values of counts_as in the
   seed engagement_metrics. #}
{% macro engagement_metrics() -%}
    {{ return([
        'attempted', 'sent', 'delivered', 'opened', 'human_opened', 'clicked', 'human_clicked', 'converted',
        'unsubscribed', 'bounced', 'dropped', 'spammed', 'failed', 'undeliverable', 'replied', 'deferred',
    ]) }}
{%- endmacro %}


{# The values of counts_as: all metrics but the two human_ ones. #}
{% macro catalogue_metrics() -%}
    {{ return(engagement_metrics() | reject('in', ['human_opened', 'human_clicked']) | list) }}
{%- endmacro %}


{# Whether an event of fct_engagement_events counts for the metric. #}
{% macro is_metric(metric) -%}
    {%- if metric.startswith('human_') -%}
        counts_as = '{{ metric[6:] }}' and not is_machine
    {%- else -%}
        counts_as = '{{ metric }}'
    {%- endif -%}
{%- endmacro %}


{# Whether an event puts its message into the denominator of the rates. Customer.io reports no `delivered` for in_app
   and slack. #}
{% macro is_reached() -%}
    coalesce(
            (counts_as = 'delivered' and channel not in ('in_app', 'slack'))
            or (counts_as = 'sent' and channel in ('in_app', 'slack')),
            false
        )
{%- endmacro %}


{# Aggregates over the events of one metric (counts_as). 32 conditional counts over all events would cost several times
   as much as these few, and then the 32 over a few rows per cell. #}
{% macro event_counts() -%}
    count(*) as event_count,
        count(case when not is_machine then 1 end) as human_event_count,
        count(case when is_first then 1 end) as first_count,
        count(case when is_first_human then 1 end) as first_human_count,
        count(case when is_first_reached then 1 end) as first_reached_count,
        sum(conversion_value) as conversion_value
{%- endmacro %}


{# Sums over rows of event_counts(): per metric, the deliveries or messages whose first event of it is in the cell, and
   its events; and the value of its conversions. #}
{% macro metric_sums() -%}
    {%- for metric in engagement_metrics() %}
        {%- set human = 'human_' if metric.startswith('human_') else '' %}
        {%- set counts_as = metric | replace('human_', '') %}
        cast(
            sum(case when counts_as = '{{ counts_as }}' then first_{{ human }}count else 0 end) as {{ dbt.type_bigint() }}
        ) as {{ metric }},
        cast(
            sum(case when counts_as = '{{ counts_as }}' then {{ human }}event_count else 0 end) as {{ dbt.type_bigint() }}
        ) as {{ metric }}_events,
    {%- endfor %}
        cast(sum(first_reached_count) as {{ dbt.type_bigint() }}) as reached,
        cast(coalesce(sum(conversion_value), 0) as decimal(38, 4)) as conversion_value
{%- endmacro %}


{# The rates of a cohort, null where the denominator is zero. #}
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
