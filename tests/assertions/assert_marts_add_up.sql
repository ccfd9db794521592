-- R7, R8: both copy marts count the same deliveries, calls and events; only the days differ.
with

deliveries as (

    select * from {{ ref('fct_deliveries') }}

),

daily as (

    select * from {{ ref('copy_metrics_daily') }}

),

cohorts as (

    select * from {{ ref('copy_cohort_metrics_daily') }}

),

served as (

    select
        count(*) as served,
        sum(call_count) as api_calls
    from deliveries

),

daily_sums as (

    select
        sum(served) as served,
        sum(api_calls) as api_calls,
        {%- for metric in engagement_metrics() %}
        sum({{ metric }}) as {{ metric }},
        sum({{ metric }}_events) as {{ metric }}_events{{ ',' if not loop.last }}
        {%- endfor %}
    from daily

),

cohort_sums as (

    select
        sum(served) as served,
        sum(api_calls) as api_calls,
        {%- for metric in engagement_metrics() %}
        sum({{ metric }}) as {{ metric }},
        sum({{ metric }}_events) as {{ metric }}_events{{ ',' if not loop.last }}
        {%- endfor %}
    from cohorts

),

final as (

    select
        served.served as deliveries,
        daily_sums.served as daily_served,
        cohort_sums.served as cohort_served
    from served
    cross join daily_sums
    cross join cohort_sums
    where
        served.served != daily_sums.served
        or served.served != cohort_sums.served
        or served.api_calls != daily_sums.api_calls
        or served.api_calls != cohort_sums.api_calls
        {%- for metric in engagement_metrics() %}
        or daily_sums.{{ metric }} != cohort_sums.{{ metric }}
        or daily_sums.{{ metric }}_events != cohort_sums.{{ metric }}_events
        {%- endfor %}

)

select * from final
