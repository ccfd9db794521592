with

arms as (

    select * from {{ ref('int_judged_arms') }}
    where arm_type != 'copies'

),

best_copies as (

    select * from {{ ref('int_best_copies') }}

),

-- equal lifts differ in the last digits, by the days that they are sums of
ranked as (

    select
        template_id,
        arm,
        metric,
        time_window,
        row_number() over (
            partition by template_id, metric, time_window
            order by round(case when good_when = 'down' then lift else -1 * lift end, 12), arm
        ) as lift_rank
    from arms
    where lift is not null

),

totals as (

    select
        template_id,
        metric,
        time_window,
        sum(units) as units
    from arms
    group by template_id, metric, time_window

),

final as (

    select
        arms.template_id,
        case when arms.arm_type = 'control' then arms.control_copy_id else arms.arm end as copy_id,
        arms.arm_type = 'control' as is_control,
        arms.metric,
        arms.time_window,
        arms.is_key_metric,
        arms.units,
        arms.trials,
        arms.successes,
        arms.successes_outside_trials,
        cast(arms.units as double) / nullif(totals.units, 0) as traffic_share,
        arms.people,
        arms.rate,
        arms.rate_low,
        arms.rate_high,
        arms.design_effect,
        arms.comparable_rate,
        arms.lift,
        arms.lift_low,
        arms.lift_high,
        arms.p_value,
        arms.p_value_holm,
        cast(ranked.lift_rank as {{ dbt.type_bigint() }}) as lift_rank,
        arms.pooled_lift,
        arms.paired_design_effect,
        arms.probability_beats_control,
        best_copies.probability_best,
        arms.reason,
        arms.verdict,
        case when arms.verdict is not null then {{ verdict_sentence('the copy', 'arms.') }} end as verdict_sentence,
        arms.verdict_lift,
        arms.lift_low_anytime,
        arms.lift_high_anytime,
        arms.p_value_anytime,
        arms.p_value_anytime_holm,
        arms.verdict_from,
        arms.verdict_through,
        arms.verdict_trials,
        arms.verdict_control_trials,
        arms.share_outside_verdict
    from arms
    inner join totals
        on
            arms.template_id = totals.template_id
            and arms.metric = totals.metric
            and arms.time_window = totals.time_window
    left join ranked
        on
            arms.template_id = ranked.template_id
            and arms.arm = ranked.arm
            and arms.metric = ranked.metric
            and arms.time_window = ranked.time_window
    left join best_copies
        on
            arms.template_id = best_copies.template_id
            and arms.arm = best_copies.arm
            and arms.is_key_metric
            and arms.time_window = 'all'

)

select * from final
