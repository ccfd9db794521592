-- R7, R8: the cohort mart counts the deliveries, calls and events of the facts; the control mart counts the messages of
-- the control arm, and the deliveries of a template for each one whose control it is.
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

control_templates as (

    select * from {{ ref('int_control_templates') }}

),

control_deliveries as (

    select
        deliveries.delivery_key,
        count(*) as template_count
    from deliveries
    inner join control_templates
        on deliveries.template_id = control_templates.control_template_id
    group by deliveries.delivery_key

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
        coalesce(events.delivery_key, events.delivery_id) as subject,
        case when events.delivery_key is null then 0 else 1 end as copy_times,
        case when events.delivery_key is null then 1 else coalesce(max(control_deliveries.template_count), 0) end
            as control_times,
        {%- for metric in engagement_metrics() %}
        count(case when {{ is_metric(metric) }} then 1 end) as {{ metric }}_events,
        {%- endfor %}
        sum(conversion_value) as conversion_value,
        {{ dbt.bool_or(is_reached()) }} as is_reached
    from events
    left join control_deliveries
        on events.delivery_key = control_deliveries.delivery_key
    group by events.delivery_key, coalesce(events.delivery_key, events.delivery_id)

),


expected as (

    select
        {%- for arm in ['copy', 'control'] %}
        {%- for metric in engagement_metrics() %}
        coalesce(sum({{ arm }}_times * {{ metric }}_events), 0) as {{ arm }}_{{ metric }}_events,
        coalesce(sum(case when {{ metric }}_events > 0 then {{ arm }}_times end), 0) as {{ arm }}_{{ metric }},
        {%- endfor %}
        coalesce(sum({{ arm }}_times * conversion_value), 0) as {{ arm }}_conversion_value,
        coalesce(sum(case when is_reached then {{ arm }}_times end), 0) as {{ arm }}_reached{{ ',' if not loop.last }}
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
