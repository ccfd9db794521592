-- R7, R8: the daily mart counts what the cohort mart counts, on other days, and every event on its day.
with

events as (

    select * from {{ ref('fct_engagement_events') }}
    where
        counts
        and delivery_key is not null
        {{ and_touched('metric_date', 'int_touched_dates') }}

),

days as (

    select * from {{ ref('copy_metrics_daily') }}

),

cohorts as (

    select * from {{ ref('copy_cohort_metrics_daily') }}

),

events_of_days as (

    select
        metric_date,
        copy_id,
        {%- for metric in engagement_metrics() %}
        count(case when {{ is_metric(metric) }} then 1 end) as {{ metric }}_events,
        {%- endfor %}
        coalesce(sum(conversion_value), 0) as conversion_value
    from events
    group by metric_date, copy_id

),

wrong_days as (

    select 'events of ' || cast(events_of_days.metric_date as {{ dbt.type_string() }}) as wrong
    from events_of_days
    left join days
        on
            events_of_days.metric_date = days.metric_date
            and events_of_days.copy_id = days.copy_id
    where
        days.copy_id is null
        {%- for metric in engagement_metrics() %}
        or events_of_days.{{ metric }}_events != days.{{ metric }}_events
        {%- endfor %}
        or events_of_days.conversion_value != days.conversion_value

),

{% for mart in ['days', 'cohorts'] -%}
{{ mart }}_sums as (

    select
        {%- for metric in engagement_metrics() %}
        coalesce(sum({{ metric }}), 0) as {{ metric }},
        coalesce(sum({{ metric }}_events), 0) as {{ metric }}_events,
        {%- endfor %}
        coalesce(sum(conversion_value), 0) as conversion_value,
        coalesce(sum(served), 0) as served,
        coalesce(sum(api_calls), 0) as api_calls
    from {{ mart }}

),

{% endfor -%}
wrong_sums as (

    select 'sums' as wrong
    from days_sums
    cross join cohorts_sums
    where
        days_sums.served != cohorts_sums.served
        or days_sums.api_calls != cohorts_sums.api_calls
        or days_sums.conversion_value != cohorts_sums.conversion_value
        {%- for metric in engagement_metrics() %}
        or days_sums.{{ metric }} != cohorts_sums.{{ metric }}
        or days_sums.{{ metric }}_events != cohorts_sums.{{ metric }}_events
        {%- endfor %}

),

final as (

    select wrong
    from wrong_days

    union all

    select wrong
    from wrong_sums

)

select * from final
