{% set kept -%}
        template_id,
        arm,
        arm_type,
        metric,
        time_window,
        control_trials,
        control_successes,
        people,
        control_people,
        design_effect,
        paired_design_effect
{%- endset %}
{% set family = 'template_id, metric, time_window, arm_type' %}

with

sums as (

    select * from {{ ref('int_comparison_sums') }}

),

design_effects as (

    select * from {{ ref('int_design_effects') }}

),

joined as (

    select
        sums.template_id,
        sums.arm,
        case when sums.arm in ('control', 'copies') then sums.arm else 'copy' end as arm_type,
        sums.metric,
        sums.time_window,
        sums.t1,
        sums.t0,
        sums.w,
        sums.g,
        sums.verdict_t1,
        sums.verdict_t0,
        sums.verdict_w,
        sums.verdict_g,
        controls.trials as control_trials,
        controls.successes as control_successes,
        coalesce(design_effects.people, 0) as people,
        coalesce(design_effects.control_people, 0) as control_people,
        coalesce(design_effects.design_effect, 1) as design_effect,
        coalesce(design_effects.paired_design_effect, 1) as paired_design_effect
    from sums
    left join sums as controls
        on
            sums.template_id = controls.template_id
            and sums.metric = controls.metric
            and sums.time_window = controls.time_window
            and controls.arm = 'control'
    left join design_effects
        on
            sums.template_id = design_effects.template_id
            and sums.arm = design_effects.arm
            and sums.metric = design_effects.metric

),

-- the control has no comparison with itself; the anytime boundary holds for all days only
estimated as (

    select
        {{ kept }},
        case when arm_type != 'control' then {{ log_risk_ratio('t1', 't0') }} end as log_ratio,
        case
            when arm_type != 'control' then {{ log_risk_ratio_error('t1', 't0', 'g', 'paired_design_effect') }}
        end as error,
        case
            when arm_type != 'control' and time_window = 'all' then {{ log_risk_ratio('verdict_t1', 'verdict_t0') }}
        end as verdict_log_ratio,
        case
            when arm_type != 'control' and time_window = 'all'
                then {{ log_risk_ratio_error('verdict_t1', 'verdict_t0', 'verdict_g', 'paired_design_effect') }}
        end as verdict_error,
        {{ anytime_clock('verdict_w', 'paired_design_effect') }} as verdict_clock
    from joined

),

scored as (

    select
        {{ kept }},
        log_ratio,
        error,
        verdict_log_ratio,
        verdict_error,
        verdict_clock,
        log_ratio / error as z,
        verdict_log_ratio / verdict_error as verdict_z
    from estimated

),

tested as (

    select
        {{ kept }},
        log_ratio,
        error,
        z,
        verdict_log_ratio,
        verdict_error,
        verdict_clock,
        {{ two_sided_p('z') }} as p_value,
        {{ anytime_p('verdict_z', 'verdict_clock') }} as p_value_anytime
    from scored

),

stepped as (

    select
        {{ kept }},
        log_ratio,
        error,
        z,
        verdict_log_ratio,
        verdict_error,
        verdict_clock,
        p_value,
        p_value_anytime,
        {{ holm_step('p_value', family, 'arm') }} as holm_step,
        {{ holm_step('p_value_anytime', family, 'arm') }} as holm_step_anytime
    from tested

),

final as (

    select
        {{ kept }},
        log_ratio,
        error,
        z,
        p_value,
        {{ holm_adjusted('holm_step', 'p_value', family, 'arm') }} as p_value_holm,
        verdict_log_ratio,
        verdict_error,
        verdict_clock,
        p_value_anytime,
        {{ holm_adjusted(
            'holm_step_anytime', 'p_value_anytime', family, 'arm'
        ) }} as p_value_anytime_holm
    from stepped

)

select * from final
