with

comparisons as (

    select * from {{ ref('int_segment_comparisons') }}

),

days as (

    select * from {{ ref('int_segment_days') }}

),

judged_arms as (

    select * from {{ ref('int_judged_arms') }}

),

outside_arms as (

    select distinct template_id
    from {{ ref('int_outside_arms') }}

),

control_totals as (

    select
        template_id,
        segment_key,
        segment_value,
        sum(trials) as trials,
        sum(successes) as successes
    from days
    where arm = 'control'
    group by template_id, segment_key, segment_value

),

final as (

    select
        comparisons.template_id,
        comparisons.arm as copy_id,
        comparisons.metric,
        comparisons.segment_key,
        comparisons.segment_value,
        cast(comparisons.trials as {{ dbt.type_bigint() }}) as trials,
        cast(comparisons.successes as {{ dbt.type_bigint() }}) as successes,
        cast(coalesce(control_totals.trials, 0) as {{ dbt.type_bigint() }}) as control_trials,
        cast(coalesce(control_totals.successes, 0) as {{ dbt.type_bigint() }}) as control_successes,
        {{ lift_of('comparisons.log_ratio') }} as lift,
        {{ plain_lift_bound('comparisons.log_ratio', 'comparisons.error', '-') }} as lift_low,
        {{ plain_lift_bound('comparisons.log_ratio', 'comparisons.error', '+') }} as lift_high,
        comparisons.p_value,
        {{ false_discovery_adjusted(
            'comparisons.q_step', 'comparisons.p_value', 'comparisons.template_id',
            'comparisons.arm, comparisons.segment_key, comparisons.segment_value',
        ) }} as q_value,
        case
            when comparisons.log_ratio is not null then null
            when comparisons.w = 0 then 'no_day_with_both_arms'
            else 'no_outcome_in_an_arm'
        end as reason
    from comparisons
    left join control_totals
        on
            comparisons.template_id = control_totals.template_id
            and comparisons.segment_key = control_totals.segment_key
            and comparisons.segment_value = control_totals.segment_value

    union all

    -- an outside control has no attributes
    select
        judged_arms.template_id,
        judged_arms.arm as copy_id,
        judged_arms.metric,
        null as segment_key,
        null as segment_value,
        judged_arms.trials,
        judged_arms.successes,
        null as control_trials,
        null as control_successes,
        null as lift,
        null as lift_low,
        null as lift_high,
        null as p_value,
        null as q_value,
        'outside_control_has_no_attributes' as reason
    from judged_arms
    inner join outside_arms
        on judged_arms.template_id = outside_arms.template_id
    where
        judged_arms.arm_type = 'copy'
        and judged_arms.is_key_metric
        and judged_arms.time_window = 'all'

)

select * from final
