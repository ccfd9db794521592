with

arms as (

    select * from {{ ref('int_judged_arms') }}

),

final as (

    select
        arms.template_id,
        arms.metric,
        arms.time_window,
        arms.is_key_metric,
        arms.units,
        arms.trials,
        arms.successes,
        arms.successes_outside_trials,
        arms.people,
        arms.rate,
        arms.rate_low,
        arms.rate_high,
        arms.design_effect,
        controls.trials as control_trials,
        controls.successes as control_successes,
        controls.people as control_people,
        controls.rate as control_rate,
        controls.rate_low as control_rate_low,
        controls.rate_high as control_rate_high,
        arms.comparable_rate,
        arms.lift,
        arms.lift_low,
        arms.lift_high,
        arms.p_value,
        arms.pooled_lift,
        arms.paired_design_effect,
        arms.probability_beats_control,
        arms.reason,
        arms.verdict,
        case when arms.verdict is not null then {{ verdict_sentence('JustAI', 'arms.') }} end as verdict_sentence,
        arms.verdict_lift,
        arms.lift_low_anytime,
        arms.lift_high_anytime,
        arms.p_value_anytime,
        arms.verdict_from,
        arms.verdict_through,
        arms.verdict_trials,
        arms.verdict_control_trials,
        arms.share_outside_verdict
    from arms
    left join arms as controls
        on
            arms.template_id = controls.template_id
            and arms.metric = controls.metric
            and arms.time_window = controls.time_window
            and controls.arm_type = 'control'
    where arms.arm_type = 'copies'

)

select * from final
