with

daily as (

    select * from {{ ref('experiment_daily') }}

),

people as (

    select * from {{ ref('int_split_people') }}

),

variants as (

    select * from {{ ref('dim_copy_variants') }}

),

settings as (

    select * from {{ ref('int_experiment_templates') }}

),

-- one metric says how many units there are
days as (

    select
        template_id,
        unit_type,
        experiment_date,
        sum(units) as units,
        sum(case when is_control then units else 0 end) as control_units,
        sum(case when is_control then trials else 0 end) as control_trials,
        sum(case when is_control then 0 else trials end) as copy_trials,
        sum(trials) as trials
    from daily
    where metric = 'delivered'
    group by template_id, unit_type, experiment_date

),

templates as (

    select
        template_id,
        max(unit_type) as unit_type,
        sum(units) as units,
        sum(control_units) as control_units,
        sum(trials) as trials,
        count(case when copy_trials > 0 and control_trials = 0 then 1 end) as days_without_control
    from days
    group by template_id

),

edits as (

    select
        template_id,
        count(case when version_number > 1 then 1 end) as edits_while_serving,
        count(
            case when valid_to < {{ dbt.dateadd('hour', 1, 'valid_from') }} then 1 end
        ) as versions_under_an_hour
    from variants
    group by template_id

),

-- where JustAI splits, people are what was split
counted as (

    select
        templates.template_id,
        settings.control_split,
        settings.control_share,
        case when templates.unit_type = 'journey' then templates.units else people.people end as split_units,
        case
            when templates.unit_type = 'journey' then templates.control_units else people.people_first_in_control
        end as split_control_units,
        people.people,
        people.people_in_several_arms,
        templates.units,
        templates.trials,
        templates.days_without_control,
        coalesce(edits.edits_while_serving, 0) as edits_while_serving,
        coalesce(edits.versions_under_an_hour, 0) as versions_under_an_hour
    from templates
    left join settings
        on templates.template_id = settings.template_id
    left join people
        on templates.template_id = people.template_id
    left join edits
        on templates.template_id = edits.template_id

),

compared as (

    select
        *,
        case
            when control_split is not null and control_share > 0 and control_share < 1
                then {{ sample_ratio_z('split_control_units', 'split_units', 'control_share') }}
        end as split_z,
        {{ sample_ratio_clock('split_units', 'control_share') }} as split_clock
    from counted

),

tested as (

    select
        *,
        {{ anytime_p('split_z', 'split_clock') }} as split_p_value_anytime
    from compared

),

final as (

    select
        template_id,
        control_split,
        control_share,
        cast(split_units as {{ dbt.type_bigint() }}) as split_units,
        cast(split_control_units as {{ dbt.type_bigint() }}) as split_control_units,
        cast(split_control_units as double) / nullif(split_units, 0) as observed_control_share,
        split_p_value_anytime,
        case
            when split_p_value_anytime is null then 'not_checked'
            when split_p_value_anytime < 0.001 then 'broken'
            else 'as_planned'
        end as split_status,
        cast(people as {{ dbt.type_bigint() }}) as people_sampled,
        cast(people_in_several_arms as double) / nullif(people, 0) as crossover_share,
        case
            when people_in_several_arms >= 0.1 * people then 'flagged'
            when people_in_several_arms >= 0.01 * people then 'reported'
            else 'none'
        end as crossover_status,
        cast(edits_while_serving as {{ dbt.type_bigint() }}) as edits_while_serving,
        cast(versions_under_an_hour as {{ dbt.type_bigint() }}) as versions_under_an_hour,
        cast(trials as double) / nullif(units, 0) as match_rate,
        cast(days_without_control as {{ dbt.type_bigint() }}) as days_without_control
    from tested

)

select * from final
