{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_dates', 'on': {'metric_date': 'metric_date'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

with

clicks as (

    select
        metric_date,
        copy_id,
        {{ link_without_query('href') }} as href,
        delivery_key,
        is_machine
    from {{ ref('fct_engagement_events') }}
    where
        counts
        and counts_as = 'clicked'
        and delivery_key is not null
        {% if is_incremental() -%}
        and metric_date in (select metric_date from {{ ref('int_touched_dates') }})
        {{- and_between('metric_date', 'int_touched_dates', 'metric_date') }}
        {%- endif %}

),

final as (

    select
        metric_date,
        copy_id,
        href,
        cast(count(distinct delivery_key) as {{ dbt.type_bigint() }}) as clicked,
        cast(count(*) as {{ dbt.type_bigint() }}) as clicked_events,
        cast(
            count(distinct case when not is_machine then delivery_key end) as {{ dbt.type_bigint() }}
        ) as human_clicked,
        cast(count(case when not is_machine then 1 end) as {{ dbt.type_bigint() }}) as human_clicked_events
    from clicks
    group by metric_date, copy_id, href

)

select * from final
