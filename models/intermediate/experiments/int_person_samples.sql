{# A table, because both who is in a sample and what the sample says of all persons depend on it. #}
with

units as (

    select * from {{ ref('int_experiment_units') }}

),

{% set persons_of_sixteenth = 2 ** 56 %}
{% set least_persons = 22000 %}

-- every sixteenth person says how many there are, to a few per cent
counted as (

    select
        template_id,
        copy_id,
        is_control,
        16 * count(distinct case when person_key < {{ persons_of_sixteenth }} then person_key end) as people
    from units
    group by template_id, copy_id, is_control

),

halved as (

    select
        template_id,
        copy_id,
        is_control,
        cast(
            case
                when people >= {{ 2 * least_persons }} then floor(ln(people / {{ least_persons }}.0) / ln(2))
                else 0
            end as {{ dbt.type_int() }}
        ) as times_halved
    from counted

),

final as (

    select
        template_id,
        copy_id,
        is_control,
        power(cast(0.5 as double), times_halved) as share,
        cast(power(cast(2 as double), 60 - times_halved) as {{ dbt.type_bigint() }}) as persons_below
    from halved

)

select * from final
