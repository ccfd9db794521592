{{ config(materialized='view') }}

with

arms_daily as (

    select * from {{ ref('int_experiment_arms_daily') }}

),

templates as (

    select * from {{ ref('int_experiment_templates') }}

),

compared_campaigns as (

    select * from {{ ref('int_compared_campaigns') }}

),

arms as (

    select
        arms_daily.template_id,
        arms_daily.copy_id,
        coalesce(arms_daily.copy_id = templates.control_copy_id, arms_daily.copy_id is null) as is_control,
        arms_daily.unit_type,
        arms_daily.unit_date as experiment_date,
        arms_daily.units,
        arms_daily.sent,
        arms_daily.reached
        {%- for compared in compared_metrics() %},
        arms_daily.{{ compared.metric }},
        arms_daily.{{ compared.metric }}_outside_trials
        {%- endfor %}
    from arms_daily
    left join templates
        on arms_daily.template_id = templates.template_id
    left join compared_campaigns
        on
            arms_daily.template_id = compared_campaigns.template_id
            and arms_daily.campaign_id is not distinct from compared_campaigns.campaign_id
    where
        arms_daily.unit_type = 'delivery'
        or compared_campaigns.template_id is not null

),

by_metric as (

    {%- for compared in compared_metrics() %}
    select
        template_id,
        copy_id,
        is_control,
        unit_type,
        experiment_date,
        '{{ compared.metric }}' as metric,
        units,
        {{ compared.trials }} as trials,
        {{ compared.metric }} as successes,
        {{ compared.metric }}_outside_trials as successes_outside_trials
    from arms
    {%- if not loop.last %}

    union all
    {% endif %}
    {%- endfor %}

),

final as (

    select
        template_id,
        copy_id,
        is_control,
        unit_type,
        experiment_date,
        metric,
        cast(sum(units) as {{ dbt.type_bigint() }}) as units,
        cast(sum(trials) as {{ dbt.type_bigint() }}) as trials,
        cast(sum(successes) as {{ dbt.type_bigint() }}) as successes,
        cast(sum(successes_outside_trials) as {{ dbt.type_bigint() }}) as successes_outside_trials
    from by_metric
    group by template_id, copy_id, is_control, unit_type, experiment_date, metric

)

select * from final
