with

arm_days as (

    select * from {{ ref('int_arm_days') }}

),

windows as (

    {%- for name, days in comparison_windows().items() %}
    select
        '{{ name }}' as time_window,
        {{ days }} as days
    {%- if not loop.last %}

    union all
    {% endif %}
    {%- endfor %}

),

windowed as (

    select
        windows.time_window,
        arm_days.template_id,
        arm_days.arm,
        arm_days.metric,
        arm_days.experiment_date,
        arm_days.units,
        arm_days.trials,
        arm_days.successes,
        arm_days.successes_outside_trials,
        arm_days.control_trials,
        arm_days.control_successes,
        arm_days.is_verdict_day
    from arm_days
    inner join windows
        on arm_days.days_before_newest < windows.days

),

final as (

    select
        template_id,
        arm,
        metric,
        time_window,
        cast(sum(units) as {{ dbt.type_bigint() }}) as units,
        cast(sum(trials) as {{ dbt.type_bigint() }}) as trials,
        cast(sum(successes) as {{ dbt.type_bigint() }}) as successes,
        cast(sum(successes_outside_trials) as {{ dbt.type_bigint() }}) as successes_outside_trials,
        cast(count(case when trials > 0 and control_trials > 0 then 1 end) as {{ dbt.type_bigint() }}) as shared_days,
        {{ risk_ratio_sums('trials', 'successes', 'control_trials', 'control_successes') }},
        {{ sum_of_days(best_of_term('successes', 'control_trials', 'trials'), 'trials', 'control_trials') }}
            as arm_squares,
        {{ sum_of_days(best_of_term('control_successes', 'trials', 'control_trials'), 'trials', 'control_trials') }}
            as control_squares,
        min(case when is_verdict_day then experiment_date end) as verdict_from,
        max(case when is_verdict_day then experiment_date end) as verdict_through,
        cast(sum(case when is_verdict_day then trials else 0 end) as {{ dbt.type_bigint() }}) as verdict_trials,
        cast(sum(case when is_verdict_day then successes else 0 end) as {{ dbt.type_bigint() }}) as verdict_successes,
        cast(
            sum(case when is_verdict_day then control_trials else 0 end) as {{ dbt.type_bigint() }}
        ) as verdict_control_trials,
        cast(
            sum(case when is_verdict_day then control_successes else 0 end) as {{ dbt.type_bigint() }}
        ) as verdict_control_successes,
        {{ risk_ratio_sums(
            'trials', 'successes', 'control_trials', 'control_successes', condition='is_verdict_day', prefix='verdict_'
        ) }}
    from windowed
    group by template_id, arm, metric, time_window

)

select * from final
