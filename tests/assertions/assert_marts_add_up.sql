-- R7, R8: the marts count what the facts hold: both copy marts the same deliveries, calls and events, only on other
-- days, and the control mart the messages of the control arm.
with

deliveries as (

    select * from {{ ref('fct_deliveries') }}

),

events as (

    select * from {{ ref('fct_engagement_events') }}

),

daily as (

    select * from {{ ref('copy_metrics_daily') }}

),

cohorts as (

    select * from {{ ref('copy_cohort_metrics_daily') }}

),

controls as (

    select * from {{ ref('control_metrics_daily') }}

),

served as (

    select
        count(*) as served,
        sum(call_count) as api_calls
    from deliveries

),

expected as (

    select
        {%- for metric in engagement_metrics() %}
        count(case when delivery_key is not null and {{ is_metric(metric) }} then 1 end) as copy_{{ metric }}_events,
        count(distinct case when {{ is_metric(metric) }} then delivery_key end) as copy_{{ metric }},
        count(case when control_template_id is not null and {{ is_metric(metric) }} then 1 end)
            as control_{{ metric }}_events,
        count(distinct case when control_template_id is not null and {{ is_metric(metric) }} then delivery_id end)
            as control_{{ metric }}{{ ',' if not loop.last }}
        {%- endfor %}
    from events
    where counts

),

{% for mart in ['daily', 'cohorts', 'controls'] -%}
{{ mart }}_sums as (

    select
        {%- if mart != 'controls' %}
        coalesce(sum(served), 0) as served,
        coalesce(sum(api_calls), 0) as api_calls,
        {%- endif %}
        {%- for metric in engagement_metrics() %}
        coalesce(sum({{ metric }}), 0) as {{ metric }},
        coalesce(sum({{ metric }}_events), 0) as {{ metric }}_events{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ mart }}

),

{% endfor -%}
final as (

    select
        served.served as deliveries,
        daily_sums.served as daily_served,
        cohorts_sums.served as cohorts_served
    from served
    cross join expected
    cross join daily_sums
    cross join cohorts_sums
    cross join controls_sums
    where
        served.served != daily_sums.served
        or served.served != cohorts_sums.served
        or coalesce(served.api_calls, 0) != daily_sums.api_calls
        or coalesce(served.api_calls, 0) != cohorts_sums.api_calls
        {%- for metric in engagement_metrics() %}
        or expected.copy_{{ metric }} != daily_sums.{{ metric }}
        or expected.copy_{{ metric }} != cohorts_sums.{{ metric }}
        or expected.copy_{{ metric }}_events != daily_sums.{{ metric }}_events
        or expected.copy_{{ metric }}_events != cohorts_sums.{{ metric }}_events
        or expected.control_{{ metric }} != controls_sums.{{ metric }}
        or expected.control_{{ metric }}_events != controls_sums.{{ metric }}_events
        {%- endfor %}

)

select * from final
