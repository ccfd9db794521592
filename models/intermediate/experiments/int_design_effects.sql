with

person_arms as (

    select * from {{ ref('int_person_arms') }}

),

controls as (

    select * from person_arms
    where arm = 'control'

),

summed as (

    select
        template_id,
        arm,
        share,
        {{ person_sums() }}
    from person_arms
    group by template_id, arm, share

),

by_metric as (

    {{ by_compared_metric(
        'summed', ['template_id', 'arm', 'share'], ['people', 'trials', 'successes', 'yy', 'yn', 'nn']
    ) }}

),

-- persons who had a delivery of the copy and one of the control; none where something else splits the traffic
crossed as (

    select
        person_arms.template_id,
        person_arms.arm,
        {{ crossed_person_sums('person_arms', 'controls') }}
    from person_arms
    inner join controls
        on
            person_arms.template_id = controls.template_id
            and person_arms.person_key = controls.person_key
    where person_arms.arm != 'control'
    group by person_arms.template_id, person_arms.arm

),

crossed_by_metric as (

    {{ by_compared_metric('crossed', ['template_id', 'arm'], ['yy', 'yn', 'ny', 'nn']) }}

),

paired as (

    select
        arms.template_id,
        arms.arm,
        arms.metric,
        {%- for arm, prefix in [('arms', 'arm_'), ('controls', 'control_')] %}
        {%- for name in ['share', 'people', 'trials', 'successes', 'yy', 'yn', 'nn'] %}
        {{ arm }}.{{ name }} as {{ prefix }}{{ name }},
        {%- endfor %}
        {%- endfor %}
        {%- for name in ['yy', 'yn', 'ny', 'nn'] %}
        coalesce(crossed.{{ name }}, 0) as crossed_{{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from by_metric as arms
    left join by_metric as controls
        on
            arms.template_id = controls.template_id
            and arms.metric = controls.metric
            and controls.arm = 'control'
    left join crossed_by_metric as crossed
        on
            arms.template_id = crossed.template_id
            and arms.arm = crossed.arm
            and arms.metric = crossed.metric

),

final as (

    select
        template_id,
        arm,
        metric,
        cast(round(arm_people / arm_share) as {{ dbt.type_bigint() }}) as people,
        cast(round(control_people / control_share) as {{ dbt.type_bigint() }}) as control_people,
        {{ design_effect('arm_') }} as design_effect,
        case
            when arm = 'control' then cast(1 as double)
            else {{ paired_design_effect('arm_', 'control_', 'crossed_') }}
        end as paired_design_effect
    from paired

)

select * from final
