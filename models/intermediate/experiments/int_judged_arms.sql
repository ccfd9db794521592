with

sums as (

    select * from {{ ref('int_comparison_sums') }}

),

comparisons as (

    select * from {{ ref('int_comparisons') }}

),

templates as (

    select * from {{ ref('int_experiment_templates') }}

),

metrics as (

    select * from {{ ref('int_compared_metrics') }}

),

health as (

    select * from {{ ref('variant_health') }}

),

-- the rate of an arm without trials is null; without an outcome in an arm, so are lift and interval
measured as (

    select
        sums.template_id,
        sums.arm,
        comparisons.arm_type,
        sums.metric,
        sums.time_window,
        templates.control_copy_id,
        templates.key_metric,
        metrics.good_when,
        coalesce(templates.min_sends, 1000) as min_sends,
        coalesce(health.split_status = 'broken', false) as is_split_broken,
        sums.units,
        sums.trials,
        sums.successes,
        sums.successes_outside_trials,
        sums.shared_days,
        comparisons.control_trials,
        comparisons.control_successes,
        -- a window may be without a control that there is
        max(comparisons.control_trials) over (partition by sums.template_id) is not null as has_control,
        comparisons.people,
        comparisons.control_people,
        comparisons.design_effect,
        comparisons.paired_design_effect,
        comparisons.p_value,
        comparisons.p_value_holm,
        comparisons.p_value_anytime,
        comparisons.p_value_anytime_holm,
        comparisons.z,
        case when metrics.good_when = 'down' then -1 else 1 end * comparisons.z as good_z,
        cast(sums.successes as double) / nullif(sums.trials, 0) as rate,
        {{ wilson_bound('sums.successes', 'sums.trials', 'comparisons.design_effect', '-') }} as rate_low,
        {{ wilson_bound('sums.successes', 'sums.trials', 'comparisons.design_effect', '+') }} as rate_high,
        cast(comparisons.control_successes as double) / nullif(comparisons.control_trials, 0) as control_rate,
        case
            when comparisons.arm_type = 'control' then cast(0 as double) else {{ lift_of('comparisons.log_ratio') }}
        end as lift,
        {{ plain_lift_bound('comparisons.log_ratio', 'comparisons.error', '-') }} as lift_low,
        {{ plain_lift_bound('comparisons.log_ratio', 'comparisons.error', '+') }} as lift_high,
        {{ lift_of('comparisons.verdict_log_ratio') }} as verdict_lift,
        {{ anytime_lift_bound(
            'comparisons.verdict_log_ratio', 'comparisons.verdict_error', 'comparisons.verdict_clock', '-'
        ) }} as lift_low_anytime,
        {{ anytime_lift_bound(
            'comparisons.verdict_log_ratio', 'comparisons.verdict_error', 'comparisons.verdict_clock', '+'
        ) }} as lift_high_anytime,
        comparisons.verdict_log_ratio,
        sums.verdict_trials,
        sums.verdict_control_trials,
        sums.verdict_from,
        sums.verdict_through
    from sums
    inner join comparisons
        on
            sums.template_id = comparisons.template_id
            and sums.arm = comparisons.arm
            and sums.metric = comparisons.metric
            and sums.time_window = comparisons.time_window
    inner join metrics
        on sums.metric = metrics.metric
    left join templates
        on sums.template_id = templates.template_id
    left join health
        on sums.template_id = health.template_id

),

final as (

    select
        template_id,
        arm,
        arm_type,
        metric,
        time_window,
        control_copy_id,
        good_when,
        coalesce(metric = key_metric, false) as is_key_metric,
        units,
        trials,
        successes,
        successes_outside_trials,
        people,
        rate,
        rate_low,
        rate_high,
        design_effect,
        paired_design_effect,
        control_rate * (1 + lift) as comparable_rate,
        lift,
        case when arm_type != 'control' then lift_low end as lift_low,
        case when arm_type != 'control' then lift_high end as lift_high,
        p_value,
        p_value_holm,
        case when arm_type != 'control' and control_successes > 0 then rate / control_rate - 1 end as pooled_lift,
        case when good_z is not null then {{ normal_cdf('good_z') }} end as probability_beats_control,
        {{ no_lift_reason() }} as reason,
        case when time_window = 'all' then {{ verdict() }} end as verdict,
        verdict_lift,
        lift_low_anytime,
        lift_high_anytime,
        p_value_anytime,
        p_value_anytime_holm,
        case when time_window = 'all' then verdict_from end as verdict_from,
        case when time_window = 'all' then verdict_through end as verdict_through,
        case when time_window = 'all' then verdict_trials end as verdict_trials,
        case when time_window = 'all' then verdict_control_trials end as verdict_control_trials,
        case
            when time_window = 'all' then 1 - cast(verdict_trials as double) / nullif(trials, 0)
        end as share_outside_verdict,
        control_people,
        min_sends
    from measured

)

select * from final
