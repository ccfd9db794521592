with

units as (

    select * from {{ ref('int_experiment_units') }}

),

samples as (

    select * from {{ ref('int_person_samples') }}

),

final as (

    select
        units.template_id,
        units.copy_id,
        units.is_control,
        units.person_key,
        samples.share,
        samples.persons_below,
        min(units.started_at) as first_started_at,
        {{ unit_counts('units.outcomes') }}
    from units
    inner join samples
        on
            units.template_id = samples.template_id
            and units.copy_id is not distinct from samples.copy_id
            and units.is_control = samples.is_control
            and units.person_key < samples.persons_below
    group by
        units.template_id, units.copy_id, units.is_control, units.person_key, samples.share, samples.persons_below

)

select * from final
