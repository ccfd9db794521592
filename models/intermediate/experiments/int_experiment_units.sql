{{ config(materialized='view') }}

with

delivery_units as (

    select * from {{ ref('int_delivery_units') }}

),

journey_units as (

    select * from {{ ref('int_journey_units') }}

),

compared_campaigns as (

    select * from {{ ref('int_compared_campaigns') }}

),

-- their deliveries count as journeys
outside_templates as (

    select template_id
    from {{ ref('int_experiment_templates') }}
    where control_split = 'outside'

),

control_copies as (

    select
        template_id,
        control_copy_id
    from {{ ref('int_experiment_templates') }}
    where control_copy_id is not null

),

final as (

    select
        'delivery' as unit_type,
        delivery_units.unit_key,
        delivery_units.template_id,
        cast(null as {{ dbt.type_bigint() }}) as campaign_id,
        delivery_units.copy_id,
        control_copies.control_copy_id is not null as is_control,
        delivery_units.unit_date,
        delivery_units.started_at,
        delivery_units.person_key,
        delivery_units.outcomes
    from delivery_units
    left join outside_templates
        on delivery_units.template_id = outside_templates.template_id
    left join control_copies
        on
            delivery_units.template_id = control_copies.template_id
            and delivery_units.copy_id = control_copies.control_copy_id
    where outside_templates.template_id is null

    union all

    select
        'journey' as unit_type,
        journey_units.unit_key,
        journey_units.template_id,
        journey_units.campaign_id,
        journey_units.copy_id,
        journey_units.is_control,
        journey_units.unit_date,
        journey_units.started_at,
        journey_units.person_key,
        journey_units.outcomes
    from journey_units
    inner join compared_campaigns
        on
            journey_units.template_id = compared_campaigns.template_id
            and journey_units.campaign_id is not distinct from compared_campaigns.campaign_id

)

select * from final
