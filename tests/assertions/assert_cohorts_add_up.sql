-- R7, R8: the cohort mart counts the deliveries, calls and events of the facts; the control mart counts the messages of
-- the control arm.
with

deliveries as (

    select * from {{ ref('fct_deliveries') }}
    where true {{ and_touched('delivery_date', 'int_touched_dates', 'metric_date') }}

),

events as (

    select * from {{ ref('fct_engagement_events') }}
    where counts {{ and_touched('delivery_date', 'int_touched_dates', 'metric_date') }}

),

cohorts as (

    select * from {{ ref('copy_cohort_metrics_daily') }}
    where true {{ and_touched('delivery_date', 'int_touched_dates', 'metric_date') }}

),

controls as (

    select * from {{ ref('control_metrics_daily') }}
    where true {{ and_touched('delivery_date', 'int_touched_dates', 'metric_date') }}

),

served as (

    select
        count(*) as served,
        coalesce(sum(call_count), 0) as api_calls
    from deliveries

),

-- counted without the flags of first events, from which the marts are summed
subjects as (

    select
        delivery_key is null as is_control,
        coalesce(delivery_key, delivery_id) as subject,
        {%- for metric in engagement_metrics() %}
        count(case when {{ is_metric(metric) }} then 1 end) as {{ metric }}_events,
        {%- endfor %}
        sum(conversion_value) as conversion_value,
        {{ dbt.bool_or(is_reached()) }} as is_reached
    from events
    group by delivery_key is null, coalesce(delivery_key, delivery_id)

),

expected as (

    select
        {%- for arm, is_control in [('copy', 'not is_control'), ('control', 'is_control')] %}
        {%- for metric in engagement_metrics() %}
        coalesce(sum(case when {{ is_control }} then {{ metric }}_events end), 0) as {{ arm }}_{{ metric }}_events,
        count(case when {{ is_control }} and {{ metric }}_events > 0 then 1 end) as {{ arm }}_{{ metric }},
        {%- endfor %}
        coalesce(sum(case when {{ is_control }} then conversion_value end), 0) as {{ arm }}_conversion_value,
        count(case when {{ is_control }} and is_reached then 1 end) as {{ arm }}_reached{{ ',' if not loop.last }}
        {%- endfor %}
    from subjects

),

{% for mart in ['cohorts', 'controls'] -%}
{{ mart }}_sums as (

    select
        {%- if mart == 'cohorts' %}
        coalesce(sum(served), 0) as served,
        coalesce(sum(api_calls), 0) as api_calls,
        {%- endif %}
        {%- for metric in engagement_metrics() %}
        coalesce(sum({{ metric }}), 0) as {{ metric }},
        coalesce(sum({{ metric }}_events), 0) as {{ metric }}_events,
        {%- endfor %}
        coalesce(sum(conversion_value), 0) as conversion_value,
        coalesce(sum(reached), 0) as reached
    from {{ mart }}

),

{% endfor -%}
final as (

    select
        served.served as deliveries,
        cohorts_sums.served as cohorts_served
    from served
    cross join expected
    cross join cohorts_sums
    cross join controls_sums
    where
        served.served != cohorts_sums.served
        or served.api_calls != cohorts_sums.api_calls
        or expected.copy_reached != cohorts_sums.reached
        or expected.control_reached != controls_sums.reached
        or expected.copy_conversion_value != cohorts_sums.conversion_value
        or expected.control_conversion_value != controls_sums.conversion_value
        {%- for metric in engagement_metrics() %}
        or expected.copy_{{ metric }} != cohorts_sums.{{ metric }}
        or expected.copy_{{ metric }}_events != cohorts_sums.{{ metric }}_events
        or expected.control_{{ metric }} != controls_sums.{{ metric }}
        or expected.control_{{ metric }}_events != controls_sums.{{ metric }}_events
        {%- endfor %}

)

select * from final
