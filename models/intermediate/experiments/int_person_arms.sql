{{ config(materialized='view') }}

{% set counted = ['sent', 'reached'] %}
{% for compared in compared_metrics() %}
    {%- do counted.append(compared.metric) %}
{%- endfor %}

with

person_outcomes as (

    select * from {{ ref('int_person_outcomes') }}

),

-- samples are nested, so the persons of the smallest one are complete in every arm
smallest as (

    select
        template_id,
        min(persons_below) as persons_below,
        min(share) as share
    from person_outcomes
    where not is_control
    group by template_id

),

final as (

    select
        template_id,
        {{ arm_of('copy_id', 'is_control') }} as arm,
        person_key,
        share,
        {{ counted | join(',\n        ') }}
    from person_outcomes

    union all

    select
        person_outcomes.template_id,
        'copies' as arm,
        person_outcomes.person_key,
        smallest.share,
        {%- for name in counted %}
        cast(sum(person_outcomes.{{ name }}) as {{ dbt.type_bigint() }}) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from person_outcomes
    inner join smallest
        on
            person_outcomes.template_id = smallest.template_id
            and person_outcomes.person_key < smallest.persons_below
    where not person_outcomes.is_control
    group by person_outcomes.template_id, person_outcomes.person_key, smallest.share

)

select * from final
