with

days as (

    select * from {{ ref('int_segment_days') }}

),

controls as (

    select * from days
    where arm = 'control'

),

design_effects as (

    select * from {{ ref('int_design_effects') }}

),

sums as (

    select
        days.template_id,
        days.arm,
        days.metric,
        days.segment_key,
        days.segment_value,
        sum(days.trials) as trials,
        sum(days.successes) as successes,
        {{ risk_ratio_sums('days.trials', 'days.successes', 'controls.trials', 'controls.successes') }}
    from days
    left join controls
        on
            days.template_id = controls.template_id
            and days.segment_key = controls.segment_key
            and days.segment_value = controls.segment_value
            and days.unit_date = controls.unit_date
    where days.arm != 'control'
    group by days.template_id, days.arm, days.metric, days.segment_key, days.segment_value

),

estimated as (

    select
        sums.template_id,
        sums.arm,
        sums.metric,
        sums.segment_key,
        sums.segment_value,
        sums.trials,
        sums.successes,
        sums.w,
        {{ log_risk_ratio('sums.t1', 'sums.t0') }} as log_ratio,
        {{ log_risk_ratio_error('sums.t1', 'sums.t0', 'sums.g', 'coalesce(design_effects.paired_design_effect, 1)') }}
            as error
    from sums
    left join design_effects
        on
            sums.template_id = design_effects.template_id
            and sums.arm = design_effects.arm
            and sums.metric = design_effects.metric

),

scored as (

    select
        template_id,
        arm,
        metric,
        segment_key,
        segment_value,
        trials,
        successes,
        w,
        log_ratio,
        error,
        log_ratio / error as z
    from estimated

),

tested as (

    select
        template_id,
        arm,
        metric,
        segment_key,
        segment_value,
        trials,
        successes,
        w,
        log_ratio,
        error,
        {{ two_sided_p('z') }} as p_value
    from scored

),

final as (

    select
        template_id,
        arm,
        metric,
        segment_key,
        segment_value,
        trials,
        successes,
        w,
        log_ratio,
        error,
        p_value,
        {{ false_discovery_step('p_value', 'template_id', 'arm, segment_key, segment_value') }} as q_step
    from tested

)

select * from final
