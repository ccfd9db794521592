{{ config(materialized='view') }}

with

person_outcomes as (

    select * from {{ ref('int_person_outcomes') }}

),

-- samples are nested: the persons of a template's smallest one are complete in every arm
bounds as (

    select
        template_id,
        min(persons_below) as persons_below
    from person_outcomes
    group by template_id

),

arms_of_persons as (

    select
        person_outcomes.template_id,
        person_outcomes.person_key,
        person_outcomes.is_control,
        row_number() over (
            partition by person_outcomes.template_id, person_outcomes.person_key
            order by person_outcomes.first_started_at, person_outcomes.copy_id nulls last
        ) as place,
        count(*) over (partition by person_outcomes.template_id, person_outcomes.person_key) as arm_count
    from person_outcomes
    inner join bounds
        on
            person_outcomes.template_id = bounds.template_id
            and person_outcomes.person_key < bounds.persons_below

),

-- a person's first delivery is what was split, whether each delivery or each person is
final as (

    select
        template_id,
        cast(count(*) as {{ dbt.type_bigint() }}) as people,
        cast(count(case when is_control then 1 end) as {{ dbt.type_bigint() }}) as people_first_in_control,
        cast(count(case when arm_count > 1 then 1 end) as {{ dbt.type_bigint() }}) as people_in_several_arms
    from arms_of_persons
    where place = 1
    group by template_id

)

select * from final
