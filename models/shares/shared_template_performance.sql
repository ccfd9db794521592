with

templates as (

    select * from {{ ref('template_performance') }}

),

final as (

    select
        template_id,
        metric,
        time_window,
        is_key_metric,
        units,
        trials,
        successes,
        successes_outside_trials,
        people,
        rate,
        rate_low,
        rate_high,
        design_effect,
        control_trials,
        control_successes,
        control_people,
        control_rate,
        control_rate_low,
        control_rate_high,
        comparable_rate,
        lift,
        lift_low,
        lift_high,
        p_value,
        pooled_lift,
        paired_design_effect,
        probability_beats_control,
        reason,
        verdict,
        verdict_sentence,
        verdict_lift,
        lift_low_anytime,
        lift_high_anytime,
        p_value_anytime,
        verdict_from,
        verdict_through,
        verdict_trials,
        verdict_control_trials,
        share_outside_verdict
    from templates

)

select * from final
