{# Days that a template's trend shows one by one; beyond them, seven at a time. #}
{% set days_shown = 92 %}
{# A comparable rate may exceed 1. Wilson's interval of such a rate is the root of a negative number, at which Snowflake
   stops the build and DuckDB gives NaN. #}
{% set successes = '(case when rated.comparable_rate <= 1 then rated.comparable_rate end * rated.trials)' %}

with

arm_days as (

    select * from {{ ref('int_arm_days') }}
    where arm != 'copies'

),

templates as (

    select * from {{ ref('int_experiment_templates') }}

),

design_effects as (

    select * from {{ ref('int_design_effects') }}

),

spans as (

    select
        template_id,
        case when max(days_before_newest) < {{ days_shown }} then 1 else 7 end as period_days
    from arm_days
    group by template_id

),

-- counted back from the newest day, so that the newest period is a whole one
numbered as (

    select
        arm_days.template_id,
        arm_days.arm,
        arm_days.metric,
        spans.period_days,
        cast(floor(arm_days.days_before_newest / cast(spans.period_days as double)) as {{ dbt.type_int() }})
            as periods_before_newest,
        {{ dbt.dateadd('day', 'arm_days.days_before_newest', 'arm_days.experiment_date') }} as newest_date,
        arm_days.trials,
        arm_days.successes,
        arm_days.control_trials,
        arm_days.control_successes
    from arm_days
    inner join spans
        on arm_days.template_id = spans.template_id

),

summed as (

    select
        template_id,
        arm,
        metric,
        period_days,
        periods_before_newest,
        max(newest_date) as newest_date,
        cast(sum(trials) as {{ dbt.type_bigint() }}) as trials,
        cast(sum(successes) as {{ dbt.type_bigint() }}) as successes,
        {{ risk_ratio_sums('trials', 'successes', 'control_trials', 'control_successes') }}
    from numbered
    group by template_id, arm, metric, period_days, periods_before_newest

),

-- all copies of one day had the same traffic; a rate of 1 is 1, whatever days it is the sum of, or it has no interval
rated as (

    select
        summed.template_id,
        summed.arm,
        summed.metric,
        summed.period_days,
        summed.periods_before_newest,
        summed.newest_date,
        summed.trials,
        summed.successes,
        case
            when summed.arm = 'control' or summed.period_days = 1
                then cast(summed.successes as double) / nullif(summed.trials, 0)
            else
                round(
                    cast(controls.successes as double) / nullif(controls.trials, 0) * summed.t1 / nullif(summed.t0, 0),
                    12
                )
        end as comparable_rate
    from summed
    left join summed as controls
        on
            summed.template_id = controls.template_id
            and summed.metric = controls.metric
            and summed.periods_before_newest = controls.periods_before_newest
            and controls.arm = 'control'

),

final as (

    select
        rated.template_id,
        case when rated.arm = 'control' then templates.control_copy_id else rated.arm end as copy_id,
        rated.arm = 'control' as is_control,
        rated.metric,
        cast(
            {{ dbt.dateadd(
                'day', '1 - rated.period_days * (rated.periods_before_newest + 1)', 'rated.newest_date'
            ) }} as date
        ) as period_start,
        cast(rated.period_days as {{ dbt.type_bigint() }}) as period_days,
        rated.trials,
        rated.successes,
        rated.comparable_rate,
        {{ wilson_bound(successes, 'rated.trials', 'design_effects.design_effect', '-') }}
            as comparable_rate_low,
        {{ wilson_bound(successes, 'rated.trials', 'design_effects.design_effect', '+') }}
            as comparable_rate_high
    from rated
    left join templates
        on rated.template_id = templates.template_id
    left join design_effects
        on
            rated.template_id = design_effects.template_id
            and rated.arm = design_effects.arm
            and rated.metric = design_effects.metric

)

select * from final
