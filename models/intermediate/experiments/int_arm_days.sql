{{ config(materialized='view') }}

with

daily as (

    select * from {{ ref('experiment_daily') }}

),

metrics as (

    select * from {{ ref('int_compared_metrics') }}

),

last_edits as (

    select * from {{ ref('int_last_edits') }}

),

newest_event as (

    select max(metric_date) as newest_date
    from {{ ref('fct_engagement_events') }}

),

newest_days as (

    select
        template_id,
        max(experiment_date) as newest_date
    from daily
    group by template_id

),

arms as (

    select
        template_id,
        {{ arm_of('copy_id', 'is_control') }} as arm,
        experiment_date,
        metric,
        units,
        trials,
        successes,
        successes_outside_trials
    from daily

    union all

    select
        template_id,
        'copies' as arm,
        experiment_date,
        metric,
        sum(units) as units,
        sum(trials) as trials,
        sum(successes) as successes,
        sum(successes_outside_trials) as successes_outside_trials
    from daily
    where not is_control
    group by template_id, experiment_date, metric

),

final as (

    select
        arms.template_id,
        arms.arm,
        arms.metric,
        arms.experiment_date,
        {{ dbt.datediff('arms.experiment_date', 'newest_days.newest_date', 'day') }} as days_before_newest,
        arms.units,
        arms.trials,
        arms.successes,
        arms.successes_outside_trials,
        coalesce(controls.trials, 0) as control_trials,
        coalesce(controls.successes, 0) as control_successes,
        coalesce(arms.trials > 0 and controls.trials > 0, false)
        and arms.experiment_date <= {{ dbt.dateadd('day', '-1 * metrics.maturity_days', 'newest_event.newest_date') }}
        and coalesce(arms.experiment_date > arm_edits.last_edit_date, true)
        and coalesce(arms.experiment_date > control_edits.last_edit_date, true)
            as is_verdict_day
    from arms
    inner join metrics
        on arms.metric = metrics.metric
    inner join newest_days
        on arms.template_id = newest_days.template_id
    cross join newest_event
    left join arms as controls
        on
            arms.template_id = controls.template_id
            and arms.metric = controls.metric
            and arms.experiment_date = controls.experiment_date
            and controls.arm = 'control'
    left join last_edits as arm_edits
        on
            arms.arm = arm_edits.arm
            and arm_edits.template_id is null
    left join last_edits as control_edits
        on
            arms.template_id = control_edits.template_id
            and control_edits.arm = 'control'

)

select * from final
