with

variants as (

    select * from {{ ref('variant_performance') }}

),

final as (

    select
        template_id,
        copy_id,
        is_control,
        metric,
        time_window,
        is_key_metric,
        units,
        trials,
        successes,
        successes_outside_trials,
        traffic_share,
        people,
        rate,
        rate_low,
        rate_high,
        design_effect,
        comparable_rate,
        lift,
        lift_low,
        lift_high,
        p_value,
        p_value_holm,
        lift_rank,
        pooled_lift,
        paired_design_effect,
        probability_beats_control,
        probability_best,
        reason,
        verdict,
        verdict_sentence,
        verdict_lift,
        lift_low_anytime,
        lift_high_anytime,
        p_value_anytime,
        p_value_anytime_holm,
        verdict_from,
        verdict_through,
        verdict_trials,
        verdict_control_trials,
        share_outside_verdict
    from variants

)

select * from final
